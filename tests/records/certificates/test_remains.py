"""What a certificate says of the traces that destroying and forgetting leave."""

import warnings
from dataclasses import fields
from pathlib import Path

import pytest

from cases import CASES
from unlearnkit import Session
from unlearnkit.records.certificates.remains import DIGESTS, NUMBERS, on_the_device
from unlearnkit.records.ledger import Entry
from unlearnkit.unlearning.boundary.protocol import Route
from unlearnkit.unlearning.boundary.spot_check import SpotCheck
from unlearnkit.unlearning.inspection import Check

# Fields that hold no number that was computed from a revoked example. A field that is new has to be
# entered here or in NUMBERS.
OTHERS = {
    "looks": {"shard", "convex", "replayed"},
    "routes": {"shard", "kind"},
    "spot_check": {"shard", "asked", "measure", "probe", "usual"},
    "entry": {"time", "kind", "boundary"},
    # The ids themselves, and digests, are the subject of other sentences.
    "line": {
        *("kind", "time", "ids", "named", "digest", "plan", "boundary", "environment", "method"),
        *("amend", "formulas", "original", "format", "destroyed", "queue", "run"),
    },
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """After an exact request, an approximate one, and a repayment, of a model of our own."""
    session = CASES["uneven"].session(store=tmp_path_factory.mktemp("store"))
    session.train()
    for max_share in (1, 0):
        session.revoke(count=2, seed=4)
        with warnings.catch_warnings():  # so little data says little
            warnings.simplefilter("ignore", UserWarning)
            session.unlearn(max_share, spot_check=True)
    session.repay()
    return session


@pytest.mark.parametrize(
    ("field", "kind"),
    [("looks", Check), ("routes", Route), ("entry", Entry), ("spot_check", SpotCheck)],
    ids=str,
)
def test_every_field_is_known_as_a_number_from_revoked_examples_or_as_another(
    field: str, kind: type
) -> None:
    assert {each.name for each in fields(kind)} == {*NUMBERS[field]} | OTHERS[field]
    assert not {*NUMBERS[field]} & OTHERS[field]


def test_every_field_of_a_line_is_known(session: Session) -> None:
    written = {name for line, _ in session.store.ledger() for name in line}
    assert written <= {*NUMBERS} | {*DIGESTS} | OTHERS["line"]
    assert {*NUMBERS} | {*DIGESTS} <= written | {"groups"}  # which only grouped data have


def test_the_certificate_names_all_of_them(session: Session) -> None:
    (said,) = (one for one in session.certificate().content["says"] if "stay there" in one)
    for field, parts in NUMBERS.items():
        assert field in said and all(part in said for part in parts)
    assert all(field in said for field in DIGESTS)


def test_the_certificate_says_that_to_destroy_is_to_unlink(session: Session) -> None:
    says = session.certificate().content["says"]
    assert on_the_device(True)[0] in says and on_the_device(False)[0] not in says
    assert all(word in on_the_device(True)[0] for word in ("unlink", "journal", "SSD", "encrypt"))


def test_without_a_request_there_are_no_such_numbers(tmp_path: Path) -> None:
    says = CASES["uneven"].session(store=tmp_path).certificate().content["says"]
    assert not any("stay there" in one for one in says)
