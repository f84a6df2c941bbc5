"""Any module: exact to the last byte, or refused in one sentence; never called exact falsely.

The reference is trained in a process that has met neither the session nor the revoked rows, which
are overwritten there by NaN, or by a token that no module knows.
"""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from any_modules import ZOO, Kind, dataset
from any_reference import Reference
from cases import of_slice
from unlearnkit import Session, TrainSpec
from unlearnkit.seeding import state_bytes
from worker import content

SPEC = TrainSpec(num_shards=2, num_slices=3, epochs=4, batch_size=8, learning_rate=0.05)
# The shard and the slice of each request: the last and the first.
REQUESTS = ((0, 3), (1, 1))
# Of these, others of the same kind are tried every time.
RARE = {
    *("masked attention", "two-way lstm", "own cell", "group norm", "convolution over time"),
    *("channel shuffle", "orthogonal", "own parametrisation", "weight norm in sequence"),
    *("one-hot tokens", "spectrum", "running attribute", "past activations", "warm-up"),
    *("own numpy generator", "shown buffer", "first shape", "masks by shape", "returns a view"),
    *("trained backbone", "bound method", "residual sequence", "gradient hook", "thawing"),
    *("checkpointed, reentrant", "partly fixed", "rows of the batch", "clips weights", "teacher"),
    *("batch-centred", "tied layers", "constant", "tied tokens", "spectral norm", "half outputs"),
    *("encoder layer", "recurrence across batches", "no linear head", "weight norm", "double"),
    *("mixed precision", "hidden buffer", "own generator", "hooked sequence", "writes unseen"),
    *("old spectral norm", "frozen backbone", "tokens in bags", "writes inputs in sequence"),
}
NAMES = [pytest.param(name, marks=pytest.mark.weekly) if name in RARE else name for name in ZOO]


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    process = Reference()
    yield process
    process.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_exact_or_refused(name: str, reference: Reference) -> None:
    kind = ZOO[name]
    data, before = dataset(kind.data), [whole(module) for module in kind.shared]
    session = trained(kind, data)
    if session is not None:
        assert not kind.refused or kind.either, "it is not refused"
        moved(session, kind)
        session.revoke(data.train.ids[:1].tolist())  # the first rows are those that are tried
        for place in REQUESTS:
            session.revoke([of_slice(session, *place)])
            result = session.unlearn(1)
            assert not result.debt_after
        expected = reference.contents(name, SPEC, session.revoked.tolist())
        assert expected.keys() == session.plan.keys
        for stage in session.plan.stages:
            found = content(session.store.get(stage.key))
            assert found == expected[stage.key], f"shard {stage.shard}, stage {stage.index}"
        predicts(session, kind)
        both_routes(session)
    assert [whole(module) for module in kind.shared] == before
    assert torch.equal(data.train.features, dataset(kind.data).train.features)


def trained(kind: Kind, data) -> Session | None:
    """A trained session; None if the module is refused as it should be."""
    try:
        session = Session(data, model=kind.model, spec=SPEC)
        session.train()
    except (ValueError, TypeError) as error:
        assert kind.refused, f"refused: {error}"
        said = str(error).lower()
        assert any(word in said for word in kind.refused), said
        return None
    return session


def moved(session: Session, kind: Kind) -> None:
    """Each parameter that a plain backward pass reaches was trained."""
    module = built(kind).train()
    inputs, _ = session.dataset.train[session.plan.partition.ids[:8]]
    module(inputs.clone()).float().sum(0).matmul(torch.tensor([1.0, -2.0, 3.0])).backward()
    state = session.ensemble.constituents[0].state
    start = session.plan.architecture.initial(SPEC.seed, session.ensemble.constituents[0].shard)
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and parameter.grad.to_dense().abs().sum() > 1e-4:
            assert not torch.equal(state[name], start[name]), f"{name} was not trained"


def predicts(session: Session, kind: Kind) -> None:
    """The module as the user builds it, with a constituent's state, predicts as that does."""
    inputs, _ = session.dataset.examples(session.dataset.test.ids)
    members = session.ensemble.probabilities(inputs)
    expected = []
    for constituent in session.ensemble.constituents:
        module = built(kind)
        module.load_state_dict(constituent.state)
        with torch.no_grad():
            expected.append(module.eval()(inputs.clone()).float().softmax(1))
    mean = torch.stack(expected).mean(0)
    assert torch.allclose(members, mean, atol=1e-4), float((members - mean).abs().max())


def both_routes(session: Session) -> None:
    """Modification works, or its shards are retrained with a reason; so does the default."""
    for max_share, (shard, stage) in zip((0, None), ((0, 1), (1, 1)), strict=True):
        session.revoke([of_slice(session, shard, stage)])
        for route in session.unlearn(max_share).decision.routes:
            assert route.reason, route
    session.certificate().to_json()
    session.accuracy()


def built(kind: Kind) -> nn.Module:
    """A module as the user builds it; what several share is copied for this one."""
    shared = {id(module): copy.deepcopy(module) for module in kind.shared}
    module = kind.model()
    for name, child in list(module.named_children()):
        setattr(module, name, shared.get(id(child), child))
    return module


def whole(module: nn.Module) -> tuple[object, ...]:
    """All that training could have changed in a module."""
    flags = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    return state_bytes(module.state_dict()), flags, [each.training for each in module.modules()]
