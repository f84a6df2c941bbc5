"""Verdicts: what is doubtful is told whichever boundary decides, and where it is shown."""

import threading
import warnings

import pytest

import unlearnkit as uk
from guarded import UNCAPPED, network
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE
from unlearnkit.unlearning.boundary.verdict import doubt_of, quietly
from unlearnkit.unlearning.inspection import Check

NO_BETTER = "may be no better than doing nothing"


class OnlyDecides:
    """A boundary of one's own, which looks at nothing."""

    def decide(self, workload, costs, debts):
        return uk.FixedBoundary(0.0).decide(workload, costs, debts)


@pytest.fixture(scope="module")
def chaotic():
    """A network at twenty times the default rate, with a request."""
    session = network(0.6)
    session.revoke(count=60)
    return session


@pytest.mark.parametrize(
    "boundary",
    [
        uk.FixedBoundary(0.0),
        OnlyDecides(),
        UNCAPPED,
        uk.OverriddenBoundary(uk.FixedBoundary(0.0), {1: APPROXIMATE}),
        uk.ChosenBoundary(),
    ],
    ids=lambda boundary: type(boundary).__name__,
)
def test_no_boundary_keeps_silent_about_chaos(chaotic, boundary):
    session = chaotic.fork()
    with pytest.warns(UserWarning, match=NO_BETTER) as caught:
        result = session.unlearn(boundary=boundary)
    assert len(caught) == 1 and caught[0].filename == __file__
    for way_out in ("repay()", "spot_check=True", "threshold of 1", "rate", "amplification()"):
        assert way_out in str(caught[0].message)
    decision = result.decision
    assert decision.doubtful == decision.approximate == (0, 1, 2)
    assert all(f"doubtful: it {NO_BETTER}" in route.reason for route in decision.routes)
    assert "3 doubtful" in repr(decision) and "3 of them doubtful" in repr(result)
    assert decision.warning in result._repr_html_()


def test_what_is_retrained_is_not_doubtful(chaotic):
    session = chaotic.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decision = session.unlearn(1.0).decision
    assert decision.doubtful == () and decision.warning == ""


def test_calm_training_is_accepted_in_silence():
    session = uk.Session("digits", model="logistic", num_shards=3, num_slices=2, epochs=6)
    session.train()
    session.revoke(count=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decision = session.unlearn(0.0).decision
    assert len(decision.approximate) == 3 and decision.doubtful == ()


def test_a_spot_check_takes_a_doubtful_shard_first():
    calm = network(0.003)
    calm.revoke(count=60)
    decision, costs = calm.preview(0.0), calm.assess().costs
    checks = {shard: Check(shard, correction=0.1) for shard in range(3)}
    for shard in (0, 1, 2):
        doubted = [
            with_doubt(check, "it moved" if check.shard == shard else "")
            for check in checks.values()
        ]
        seen = decision.with_drawn((2, 0, 1), costs).after(doubted, {}, costs)
        assert seen.to_check == (shard,)
    silent = [with_doubt(check, "") for check in checks.values()]
    assert decision.with_drawn((2, 0, 1), costs).after(silent, {}, costs).to_check == (2,)


def with_doubt(check, doubt):
    """The check with another doubt."""
    return Check(check.shard, correction=check.correction, doubt=doubt)


@pytest.mark.parametrize(
    ("check", "word"),
    [
        (Check(0, agreement=0.6), "agree to 60% only, under 70%"),
        (Check(0, agreement=0.6, sharpness=0.05), ""),
        (Check(0, agreement=0.2, sharpness=0.05), "agree to 20% only, under 30%"),
        (Check(0, agreement=0.9, sharpness=0.1), "under 95% where training is as sharp as 0.1"),
        (Check(0, agreement=0.96, sharpness=0.1), ""),
        (Check(0, agreement=0.99, drift=30.0, sharpness=0.05), "drifted by 30, over 20"),
        (Check(0, agreement=0.99, drift=float("nan")), "drifted by nan"),
        (Check(0, agreement=0.99, motion=0.9), "moved its outputs by 0.9"),
        (Check(0, agreement=0.99, motion=0.0, sharpness=0.9), "sharpness 0.9"),
        (Check(0, agreement=float("nan")), "agree to nan%"),
        (Check(0, sharpness=float("nan")), "sharpness nan"),
        (Check(0), ""),
        (Check(0, agreement=0.95, motion=0.01, sharpness=0.02, rise=5.0, kl=3.0), ""),
    ],
)
def test_the_reason_is_named(check, word):
    assert word in doubt_of(check) and bool(doubt_of(check)) == bool(word)


def test_quiet_is_of_the_thread_alone(chaotic):
    told = []

    def unlearn():
        with quietly():
            chaotic.fork().unlearn(0.0)
            told.append("quiet")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = threading.Thread(target=unlearn)
        other.start()
        other.join()
    assert told == ["quiet"]
    with pytest.warns(UserWarning, match=NO_BETTER):
        chaotic.fork().unlearn(0.0)


def test_the_ledger_keeps_the_doubt(chaotic):
    session = chaotic.fork()
    with pytest.warns(UserWarning, match=NO_BETTER):
        session.unlearn(0.0)
    (line,) = (line for line in session._journal.history.lines if line["kind"] == "unlearn")
    assert all(look["doubt"] for look in line["looks"])
    older = {name: value for name, value in line["looks"][0].items() if name != "doubt"}
    assert Check(**older).doubt == ""  # as earlier versions wrote it
