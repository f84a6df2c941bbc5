"""The certificate: what was forgotten, how, and which examples each artefact depends on."""

import hashlib
import html
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from unlearnkit.display import plural
from unlearnkit.models.frozen.features import features_of
from unlearnkit.models.state import is_finite
from unlearnkit.records.certificates.model_card import model_card
from unlearnkit.records.certificates.noise import on_the_noise
from unlearnkit.records.certificates.page import page, written
from unlearnkit.records.certificates.remains import on_the_device, on_the_numbers
from unlearnkit.records.history import requests_of
from unlearnkit.records.inventory import keyed
from unlearnkit.records.ledger import Record, keyed_digest
from unlearnkit.store import Checkpoint, Store
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.unlearning.debt import debts_of

EXACT, APPROXIMATE, LEFT = "exact", "approximate", "left the vote"
BROKEN, UNTRAINED = "not finite", "not trained"

# JupyterLab aligns cells to the right, and does not scroll tables that are wider than the page.
_CSS = (
    ".uk-certificate .uk-wide{overflow-x:auto}.uk-certificate table{margin-left:0}"
    ".uk-certificate :is(td,th,caption){text-align:left!important;vertical-align:top!important}"
    ".uk-certificate caption{font-weight:bold}.uk-certificate code{overflow-wrap:anywhere}"
)


@dataclass(frozen=True, eq=False)
class Certificate:
    """The result of :meth:`unlearnkit.Session.certificate`: a page, JSON, or a short repr.

    Attributes:
        content: everything that the certificate states, as JSON-compatible values.
    """

    content: dict[str, Any]

    def __repr__(self) -> str:
        states = [one["state"] for one in self.content["constituents"]]
        revoked = plural(self.content["revoked"], "revoked example")
        exact = plural(states.count(EXACT), "constituent")
        return f"Certificate({revoked}, {exact} exact, {states.count(APPROXIMATE)} with debt)"

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The certificate as JSON; also written to ``path`` if one is given."""
        return written(json.dumps(self.content, indent=1), path)

    def model_card(self) -> str:
        """A model card for Hugging Face or another catalogue of models, as Markdown.

        It says what the models are, what they have forgotten and how exactly, how that is checked,
        and what it does not show. Accuracy, intended use and licence are not known here; add them.
        Use it as ``session.ensemble.save(folder, card=session.certificate().model_card())``.
        """
        return model_card(self.content)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The certificate as a self-contained HTML page; also written to ``path`` if given."""
        css = "body{max-width:80em}caption{font-weight:bold;text-align:left;margin-top:1.5em}"
        whole = page("Certificate", "Certificate of unlearning", self._repr_html_(), css=css)
        return written(whole, path)

    def _repr_html_(self) -> str:
        content = self.content
        numbered = list(enumerate(content["requests"], start=1))
        requests = [
            [
                *(n, r["time"][:19].replace("T", " "), f"{r['kind']} {r['examples'] or ''}"),
                f"{r['predicted_visits']:,} / {r['visits']:,}",
                f"{_cell(r['predicted_seconds'])} / {_cell(r['cpu_seconds'])}",
                _cell(r["seconds"]),
                f"{r['debt_before']} \N{RIGHTWARDS ARROW} {r['debt_after']}",
                *(r["boundary"], str(r["plan"])[:12], str(r["environment"])[:12]),
            ]
            for n, r in numbered
        ]
        routes = [
            [
                *(n, route["shard"], route["kind"], f"{route['visits']:,}", route["seconds"]),
                route["reason"],
            ]
            for n, r in numbered
            for route in r["routes"]
        ]
        ids = [[n, ", ".join(str(i)[:16] for i in r["ids"])] for n, r in numbered if r["ids"]]
        artefacts = [
            [a["shard"], a["stage"], a["state"], a["shaped_by"], a["lineage"][:16]]
            for a in content["artefacts"]
        ]
        states = [[c["shard"], c["state"], c["debt"]] for c in content["constituents"]]
        run = [[part, _as_text(value)] for part, value in content["run"].items()]
        head = content["head"] or "none: this session keeps its store in memory"
        return (
            f'<div class="uk-certificate"><style>{_CSS}</style><ul>'
            + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in content["says"])
            + f"</ul><p>Head of the ledger: <code>{html.escape(head)}</code></p>"
            + _table("Run", ["", ""], run)
            + _table("Constituents", ["shard", "state", "debt"], states)
            + _table(
                "Requests",
                [
                    *("", "when (UTC)", "request", "exact visits, predicted / done"),
                    *("CPU seconds, predicted / measured", "wall seconds", "debt", "boundary"),
                    *("plan", "environment"),
                ],
                requests,
            )
            + _table(
                "Decisions",
                ["request", "shard", "route", "visits if exact", "predicted CPU s", "why"],
                routes,
            )
            + _table(f"Examples, {content['ids are']}", ["request", "ids"], ids)
            + _table(
                "Artefacts", ["shard", "stage", "state", "shaped by", "lineage SHA-256"], artefacts
            )
            + "</div>"
        )


def certify(
    plan: Plan,
    store: Store,
    records: Sequence[Record],
    run: dict[str, Any],
    *,
    head: str | None,
    secret: bytes | None,
    original_in_memory: bool,
    repeated: Repeated = NOTHING_REPEATED,
) -> Certificate:
    """Certify the current ensemble and every artefact in a store.

    Args:
        plan: the plan of the current retain set.
        store: the store; it is only read.
        records: the completion lines of the ledger, with their entries.
        run: the run's identity: dataset, model, spec, partition, environment.
        head: the head of the ledger's chain; None for a store in memory.
        secret: keys the digests of ids; None lists the ids in plain text.
        original_in_memory: whether the session still holds the models from before the last
            request.
        repeated: how many steps of a foreign module were repeated in all training.
    """
    debts = debts_of(plan, store)
    revoked = np.unique(np.concatenate([np.empty(0, np.int64), *requests_of(records)]))
    requests = [line for line, _ in records if line.get("kind") == "unlearn"]
    constituents, artefacts, last = [], [], plan.spec.num_slices
    methods = dict[int, str]()
    for shard in range(plan.num_shards):
        debt = len(debts.get(shard, ()))
        state = LEFT if not plan.alive(shard) else APPROXIMATE if debt else EXACT
        end = None if state == LEFT else ShardModel(plan, store, shard).checkpoint(last)
        if state == EXACT and end is None:
            state = UNTRAINED
        if end is not None and not is_finite(end.state, plan.architecture.trainable_names):
            state = BROKEN
        constituents.append({"shard": shard, "state": state, "debt": debt})
        clean = [stage.key for stage in plan.chains[shard] if stage.key in store]
        artefacts += [_artefact(store.get(key), EXACT, secret) for key in clean]
        approximation = ShardModel(plan, store, shard).approximation if debt else None
        if approximation is not None:
            methods[shard] = approximation.method
            kept = sorted(approximation.checkpoints.items())
            artefacts += [_artefact(checkpoint, APPROXIMATE, secret) for _, checkpoint in kept]
    says = [
        _on_the_revoked(len(revoked), sum(len(debt) for debt in debts.values()), len(debts)),
        "Exact means: the same bytes as retraining from scratch without these examples, in the "
        "same environment. That an id existed, and its slot, still shapes the order of training.",
        *(
            [
                f"{plural(broken, 'constituent')} {'holds' if broken == 1 else 'hold'} NaN or "
                "infinite numbers, because training diverged: such a constituent predicts nothing, "
                "and nothing is certified about it."
            ]
            if (broken := sum(each["state"] == BROKEN for each in constituents))
            else []
        ),
        *(
            [
                f"{plural(untrained, 'constituent')} {'has' if untrained == 1 else 'have'} no "
                "model, because it was never trained or is missing from the store: nothing is "
                "certified about such a constituent."
            ]
            if (untrained := sum(each["state"] == UNTRAINED for each in constituents))
            else []
        ),
        *on_the_noise(plan, methods, [str(line.get("method", "")) for line in requests]),
        *_on_the_model(plan, repeated),
        *_on_the_features(plan),
        "The models from before the last request are still in this session's memory, for "
        "comparison; session.discard_original() releases them."
        if original_in_memory
        else "No model from before the last request is kept by this session.",
        (
            "The store's ledger names revoked ids by keyed digests; the folder as a whole, which "
            "holds the key, still reveals them"
            if all(line.get("named") is False for line in requests)
            else ("The store's ledger" if head else "The session, in memory,")
            + " holds the revoked ids in plain"
        )
        + ", for as long as it is kept: without them a request could be neither resumed nor "
        "audited. "
        + (
            "This certificate lists them in plain, as requested."
            if secret is None
            else "This certificate carries only keyed digests of them; the key does not leave the "
            + ("store (secret.key)." if head else "session.")
        ),
        *on_the_numbers(len(requests)),
        *on_the_device(head is not None),
        *_on_the_proof(head),
    ]
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "says": says,
        "run": run,
        "head": head,
        "revoked": len(revoked),
        "ids": _named(revoked.tolist(), secret),
        "ids are": "in plain" if secret is None else "HMAC-SHA-256, by the store's secret.key",
        "requests": [_request(record, secret) for record in records],
        "constituents": constituents,
        "artefacts": artefacts,
    }
    if (features := features_of(plan.examples)) is not None:
        content["features"] = {
            "backbone": features.backbone.described,
            "kept": len(features.kept),
            "of revoked": int(np.isin(features.kept, revoked).sum()),
        }
    if plan.architecture.foreign:
        content["repeated"] = repeated.to_dict()
    return Certificate(content)


def _on_the_revoked(revoked: int, owed: int, shards: int) -> str:
    """Say how many examples are revoked, and how many of them were removed only approximately."""
    if not revoked:
        return "No example is revoked."
    says = f"{plural(revoked, 'example')} {'is' if revoked == 1 else 'are'} revoked. "
    if owed == revoked:
        says += "It was" if owed == 1 else "All of them were"
    else:
        says += (
            "The current ensemble and everything that its store holds were trained without "
            f"{'it' if revoked == 1 else 'them'}"
        )
        if not owed:
            return f"{says}."
        says += f", except for {plural(owed, 'example')} that {'was' if owed == 1 else 'were'}"
    says += " removed only approximately: "
    if shards == 1:
        return f"{says}one shard is marked, and carries this debt until it is retrained exactly."
    return (
        f"{says}{shards} shards are marked, and carry this debt until they are retrained exactly."
    )


def _on_the_proof(head: str | None) -> list[str]:
    """Say what can be proven of this certificate, level by level."""
    if head is None:
        return ["The session keeps its store in memory, so nobody can check this certificate."]
    return [
        "Four levels of proof follow, which python -m unlearnkit audit can check.",
        "1. The folder alone shows that nothing in it was damaged or lost by accident, and that "
        "its claims agree with each other; whoever can write to it can rewrite all of it.",
        "2. The folder and this head, kept elsewhere (--head), show that the ledger's lines up to "
        "the head, the checkpoints that they record, the requests that wait and the data set's "
        "fingerprint are those of the time when this certificate was made.",
        "3. Replaying (--replay, with the data) shows that the approximate constituents have the "
        "bits that the recorded methods give when they remove the recorded examples from models "
        "trained with them.",
        "4. Retraining (--retrain, with the data) shows that the checkpoints called exact have the "
        "bits of training without the revoked examples.",
        "What no check shows: that there is no other copy, in a backup, on another machine or in "
        "memory; that the data given to the audit are those of the people concerned; that the "
        "recorded seconds and checks of approximations were measured; and that the outputs of an "
        "approximate constituent are those of a retrained one.",
    ]


def _on_the_model(plan: Plan, repeated: Repeated) -> list[str]:
    """Say how far exactness was checked for a model that the user has written."""
    if not plan.architecture.foreign:
        return []
    if plan.stacked:
        return ["The model is a stack of plain linear layers, trained by unlearnkit's own kernel."]
    name = plan.architecture.name
    says = [
        f"The code of the model ({name}) is not part of unlearnkit, so that the same bits are not "
        f"proven but were checked by samples: {repeated.sentence}."
    ]
    if plan.architecture.handling.forgets:
        forgets = ", ".join(plan.architecture.handling.forgets)
        says.append(f"What {name} keeps outside its state ({forgets}) begins anew in every stage.")
    return says


def _on_the_features(plan: Plan) -> list[str]:
    """Say what is kept of a frozen backbone, and what this certificate does not cover."""
    features = features_of(plan.examples)
    if features is None:
        return []
    gone = int(np.isin(features.kept, plan.partition.ids[~plan.retained]).sum())
    none = "none of which is revoked" if not gone else f"{gone} of which are revoked"
    return [
        f"The models are heads on a frozen backbone ({features.backbone.name}), which no request "
        f"changes. Its features are kept for {plural(len(features.kept), 'example')}, {none}: the "
        "features of an example are overwritten when it is forgotten. What the backbone itself "
        "learned, before it came here and from whatever data, is not covered."
    ]


def _request(record: Record, secret: bytes | None) -> dict[str, Any]:
    """The ledger's record of one request or repayment."""
    line, entry = record
    return {
        **asdict(entry),
        "seconds": _number(entry.seconds),
        "ids": _named(line.get("ids", []), secret),
        "plan": _plan(line, secret),
        "routes": line.get("routes", []),
        "looks": line.get("looks", []),
        **{name: line[name] for name in ("spot_check", "usual") if name in line},
        "environment": line.get("environment"),
    }


def _plan(line: dict[str, Any], secret: bytes | None) -> str | None:
    """The digest of the plan, keyed like the ids on which it depends."""
    plan = line.get("plan")
    is_keyed = line.get("format") is not None
    return plan if plan is None or secret is None or is_keyed else keyed(plan, secret)


def _named(ids: list[int], secret: bytes | None) -> list[int] | list[str]:
    return ids if secret is None else [keyed_digest(one, secret) for one in ids]


def _artefact(checkpoint: Checkpoint, state: str, secret: bytes | None) -> dict[str, Any]:
    bits = np.unpackbits(np.frombuffer(checkpoint.lineage, np.uint8))
    lineage = checkpoint.lineage.hex()
    return {
        "shard": checkpoint.shard,
        "stage": checkpoint.stage,
        "key": checkpoint.key if secret is None else keyed(checkpoint.key, secret),
        "state": state,
        "shaped_by": int(bits.sum()),
        "lineage": hashlib.sha256(checkpoint.lineage).hexdigest()
        if secret is None
        else keyed(lineage, secret),
    }


def _number(value: float) -> float | None:
    return value if value == value else None  # only NaN differs from itself


def _table(caption: str, heads: list[str], rows: list[list[Any]]) -> str:
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_cell(v))}</td>' for v in row)}</tr>" for row in rows
    )
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    table = f"<table><caption>{caption}</caption><tr>{top}</tr>{body}</table>"
    return f'<div class="uk-wide">{table}</div>'


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _as_text(value: object) -> str:
    """One part of the run's identity as text."""
    if not isinstance(value, dict):
        return _cell(value)
    return "; ".join(f"{name.replace('_', ' ')} {_cell(part)}" for name, part in value.items())
