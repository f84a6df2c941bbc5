"""Streams: debt by hand, exact operations bit for bit, nothing of the session changed."""

import pytest

import unlearnkit as uk


@pytest.fixture(scope="module")
def session():
    session = uk.Session("digits", model="mlp", num_shards=4, num_slices=2, epochs=6)
    session.train()
    return session


def test_debt_grows_until_the_cap_and_every_exact_operation_has_the_bits(session):
    keys = session.store.keys
    # Any gain pays, so that only caps and looks send a shard to exact retraining.
    boundary = uk.AdaptiveBoundary(min_gain=1.0, debt_cap=0.02)
    frame = uk.stream(session, rounds=12, size=8, boundary=boundary)
    assert frame["revoked"].tolist() == list(range(8, 104, 8))
    assert frame["exact_operations"].sum() > 0
    assert frame["bit_identical"].tolist() == frame["exact_operations"].tolist()
    totals = frame["exact_cpu_seconds"].cumsum() / frame["cpu_seconds"].cumsum()
    assert frame["speed"].tolist() == pytest.approx(totals.tolist())
    assert session.store.keys == keys and not len(session.revoked) and not session.debt


def test_always_approximate_owes_everything_and_always_exact_nothing(session):
    owing = uk.stream(session, rounds=3, size=5, boundary=uk.FixedBoundary(0.0))
    assert owing["debt"].tolist() == owing["revoked"].tolist()
    assert owing["exact_operations"].tolist() == [0, 0, 0]
    paid = uk.stream(session, rounds=3, size=5, boundary=uk.FixedBoundary(1.0))
    assert paid["debt"].tolist() == [0, 0, 0]
    assert paid["bit_identical"].tolist() == paid["exact_operations"].tolist()


def test_pending_requests_are_none_of_the_streams(session):
    fork = session.fork()
    fork.revoke(count=9)
    assert uk.stream(fork, rounds=1, size=2)["revoked"].tolist() == [2]
    assert len(fork.pending) == 9


def test_too_long_a_stream_is_refused(session):
    with pytest.raises(ValueError, match="100 requests of 50 examples would use up the 1297"):
        uk.stream(session, rounds=100, size=50)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"size": 0}, ValueError, "size=0 is too small; give a whole number of at least 1"),
        ({"rounds": -1}, ValueError, "rounds=-1 is too small"),
        ({"size": 2.5}, TypeError, "size=2.5 is a float; give a whole number"),
    ],
)
def test_rounds_and_sizes_out_of_range_are_refused(session, given, kind, message):
    with pytest.raises(kind, match=message):
        uk.stream(session, **given)
