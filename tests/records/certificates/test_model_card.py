"""The model card: it says what the certificate says, in whole sentences, and escapes names."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import unlearnkit as uk
from cases import CASES
from unlearnkit.records.certificates.model_card import model_card

CASE = CASES["logistic"]


@pytest.fixture(scope="module")
def certificate() -> Any:
    """Of an exact request of two examples, and an approximate one of one."""
    session = CASE.session()
    session.train(on_progress=False)
    session.revoke(count=2, seed=4)
    session.unlearn(1, on_progress=False)
    session.revoke(count=1, seed=4)
    session.unlearn(0, on_progress=False)
    return session.certificate()


def changed(certificate: Any, **content: Any) -> str:
    card: str = replace(certificate, content={**certificate.content, **content}).model_card()
    return card


def test_a_card_has_metadata_sections_and_a_row_for_each_constituent(certificate: Any) -> None:
    card = certificate.model_card()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "unlearnkit",
        "model_name": "logistic on logistic",
        "tags": ["machine-unlearning", "unlearnkit", "sharded-ensemble"],
    }
    assert re.findall("^#+ (.+)$", text, re.MULTILINE) == [
        "`logistic` on `logistic`",
        "The model",
        "What was forgotten",
        "How to check it",
        "What this does not show",
        "Method and sources",
    ]
    states = re.findall(r"^\| (\d) \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    assert sorted(state for _, state, _ in states) == ["approximate", "exact", "exact"]
    assert [debt for _, state, debt in states if state == "approximate"] == ["1 example"]
    assert len(re.findall(r"^\| \S+ \| unlearn \| [12] \|", text, re.MULTILINE)) == 2
    for sentence in certificate.content["says"]:
        assert sentence in text
    assert "Only the abstract of that paper is public" in text and "2412.14505" in text
    assert "3 examples have been revoked: 2 removed exactly, 1 only approximately." in text
    assert "An attack may still find traces" in text
    assert "nothing on disk can be audited" in text
    assert "An attack" not in changed(
        certificate, constituents=[{"shard": 0, "state": "exact", "debt": 0}]
    )


@pytest.mark.parametrize(
    ("revoked", "debt", "said"),
    [
        (0, 0, "No example has been revoked."),
        (1, 0, "1 example has been revoked, and removed exactly."),
        (1, 1, "1 example has been revoked, and removed only approximately."),
        (2, 2, "2 examples have been revoked, and removed only approximately."),
    ],
)
def test_counts_are_said_in_words_that_agree(
    revoked: int, debt: int, said: str, certificate: Any
) -> None:
    constituents = [{"shard": 0, "state": "exact", "debt": debt}]
    card = changed(certificate, revoked=revoked, constituents=constituents)
    assert said in card and "an ensemble of 1 model, trained" in card


def test_names_do_not_become_markdown_or_metadata(certificate: Any) -> None:
    name = 'a\n---\n# "b" `c` | <script>'
    run = {**certificate.content["run"], "dataset": {"name": name, "fingerprint": "f"}}
    card = changed(certificate, run=run, says=[name])
    front = card.split("\n---\n")[0].removeprefix("---\n")
    assert yaml.safe_load(front)["model_name"] == 'logistic on a --- # "b" `c` | <script>'
    assert '\n# "b"' not in card
    assert '- a --- # "b" `c` \\| &lt;script>' in card
    assert "`a --- # \"b\" 'c' | <script>`" in card


def test_the_head_and_a_model_of_the_user_are_named(certificate: Any) -> None:
    card = changed(certificate, head="ab" * 32, repeated={})
    assert f"python -m unlearnkit audit FOLDER --head {'ab' * 32}" in card
    assert 'uk.load_ensemble("FOLDER", model=logistic)' in card
    assert 'uk.load_ensemble("FOLDER")' in certificate.model_card()
    assert model_card(certificate.content) == certificate.model_card()


def test_a_card_lies_beside_the_models(tmp_path: Path) -> None:
    session = CASE.session()
    session.train(on_progress=False)
    card = session.certificate().model_card()
    session.ensemble.save(tmp_path, card=card)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card
    assert repr(uk.load_ensemble(tmp_path)) == repr(session.ensemble)
