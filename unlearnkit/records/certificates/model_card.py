"""Model cards: what a certificate states, as Markdown for catalogues of models.

The form is that of Hugging Face: metadata in YAML, then sections.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearnkit.display import plural

TAGS = ("machine-unlearning", "unlearnkit", "sharded-ensemble")
NOT_SHOWN = (
    "It is no proof for outsiders. It states what the program recorded: whoever has the store can "
    "check it; with the models alone nobody can.",
    "It says nothing about copies of the data, about earlier models, or about models that were "
    "trained on the outputs of these.",
    "It gives no guarantee of differential privacy. Examples that were not revoked can leave "
    "traces in the models, and so can the fact that an example was revoked: its id and its slot "
    "still shape the order of training.",
    "It says nothing about accuracy, fairness or fitness for a purpose. Whoever publishes the "
    "models should add these, the intended use and the licence.",
)
DEBT_NOT_SHOWN = (
    "Constituents marked *approximate* were not retrained. An attack may still find traces in them "
    "of the examples that they owe."
)
SOURCES = """\
- Trained and unlearned with unlearnkit. One model is trained on each shard of the data, in slices
  (Bourtoule et al. 2021, *Machine Unlearning*,
  [arXiv 1912.03817](https://arxiv.org/abs/1912.03817)).
- Choosing between exact and approximate unlearning for each shard was proposed by Li, Yu, Wang et
  al., *A hybrid framework for effective and efficient machine unlearning*
  ([arXiv 2412.14505](https://arxiv.org/abs/2412.14505)). Only the abstract of that paper is public;
  formulas, methods and defaults are unlearnkit's own."""


def model_card(content: Mapping[str, Any]) -> str:
    """Return a model card.

    Args:
        content: the content of a certificate.
    """
    run, requests = content["run"], content["requests"]
    model, data = _plain(run["model"]["name"]), _plain(run["dataset"]["name"])
    constituents = [
        (each["shard"], each["state"], plural(each["debt"], "example") if each["debt"] else "none")
        for each in content["constituents"]
    ]
    voting = sum(each["state"] != "left the vote" for each in content["constituents"])
    title = json.dumps(f"{model} on {data}", ensure_ascii=False)
    tags = "\n".join(f"- {tag}" for tag in TAGS)
    owed = sum(each["debt"] for each in content["constituents"])
    parts = [
        f"---\nlibrary_name: unlearnkit\nmodel_name: {title}\ntags:\n{tags}\n---",
        f"# {_code(model)} on {_code(data)}",
        f"This is an ensemble of {plural(voting, 'model')}, trained on the data set {_code(data)}. "
        f"{_revoked(content['revoked'], owed)} This card was made from the certificate of "
        f"{content['made']}.",
        "## The model",
        _list(
            [
                f"Model: {_code(model)} (digest {_code(run['model']['digest'])})",
                f"Data set: {_code(data)} (fingerprint {_code(run['dataset']['fingerprint'])})",
                f"Settings: {_code(run['spec'])}",
                "Environment: " + _code(", ".join(f"{k} {v}" for k, v in _environment(run))),
            ]
        ),
        "If these models were saved by `ensemble.save`, load them with\n\n"
        "```python\nimport unlearnkit as uk\n\n"
        f"ensemble = uk.load_ensemble({_call(content, model)})\n"
        "probabilities = ensemble.probabilities(inputs)\n```\n\n"
        "The file `ensemble.json` says which inputs the models take, and how features are scaled.",
        "## What was forgotten",
        _list(content["says"]),
        _table(("shard", "state", "debt"), constituents),
    ]
    if requests:
        parts += ["Requests, oldest first:", _requests(requests)]
    parts += [
        "## How to check it",
        _checking(content["head"]),
        "## What this does not show",
        _list([*([DEBT_NOT_SHOWN] if owed else []), *NOT_SHOWN], escape=False),
        "## Method and sources",
        SOURCES,
    ]
    return "\n\n".join(parts) + "\n"


def _revoked(revoked: int, owed: int) -> str:
    if not revoked:
        return "No example has been revoked."
    begin = f"{plural(revoked, 'example')} {'has' if revoked == 1 else 'have'} been revoked"
    if not owed:
        return f"{begin}, and removed exactly."
    if owed == revoked:
        return f"{begin}, and removed only approximately."
    return f"{begin}: {revoked - owed:,} removed exactly, {owed:,} only approximately."


def _call(content: Mapping[str, Any], model: str) -> str:
    """Return the arguments that load the models; a model of the user has to be given."""
    name = model if model.isidentifier() else "..."
    return '"FOLDER", model=' + name if "repeated" in content else '"FOLDER"'


def _environment(run: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((name.replace("_", " "), value) for name, value in run["environment"].items())


def _requests(requests: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "when (UTC)",
        "request",
        "examples",
        "shards exact",
        "shards approximate",
        "debt after",
    )
    names = ("time", "kind", "examples", "exact_shards", "approximate_shards", "debt_after")
    return _table(heads, [[request[name] for name in names] for request in requests])


def _checking(head: str | None) -> str:
    if head is None:
        return (
            "The session that made these models kept its store in memory, so nothing on disk can "
            "be audited. Training and unlearning can be repeated with the same data, settings and "
            "environment; exact constituents then have the same bits."
        )
    return (
        "Whoever has the store in which the models were made can check every claim of the "
        "certificate and, given the data, retrain every exact constituent and repeat every "
        "modification, for comparison bit by bit:\n\n"
        f"```\npython -m unlearnkit audit FOLDER --head {head}\n"
        f"python -m unlearnkit audit FOLDER --head {head} --retrain --replay --data NAME\n```\n\n"
        "The head fixes every line that the store's ledger held when this card was made; keep the "
        "head where it cannot be changed."
    )


def _list(items: Iterable[str], escape: bool = True) -> str:
    return "\n".join(f"- {_escaped(item) if escape else item}" for item in items)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escaped(str(v)) for v in line)} |" for line in lines)


def _plain(text: object) -> str:
    """Return text in one line."""
    return re.sub(r"\s+", " ", str(text)).strip()


def _code(text: object) -> str:
    """Return text as code, in which Markdown means nothing."""
    return f"`{_plain(text).replace('`', chr(39))}`"


def _escaped(text: str) -> str:
    """Return a sentence in which neither HTML nor the columns of a table begin."""
    return _plain(text).replace("<", "&lt;").replace("|", "\\|")
