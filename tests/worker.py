"""The separate process: trains from scratch on data in which every revoked row is poisoned.

Run as a script it answers pickled messages on its standard input until that is closed. A parent
talks to it through :class:`Worker`; torch is imported once for many answers.
"""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cases import CASES
from unlearnkit.data.examples import Examples
from unlearnkit.store import Checkpoint, MemoryStore, Store
from unlearnkit.training import train
from unlearnkit.training.plan import Plan, make_plan

ROOT = Path(__file__).resolve().parent.parent

State = dict[str, tuple[str, tuple[int, ...], bytes]]


@dataclass(frozen=True)
class Scratch:
    """What training from scratch gave: keys of all stages, contents by key, and gradients."""

    keys: list[str]
    contents: dict[str, dict[str, State]]
    visits: int


def content(checkpoint: Checkpoint) -> dict[str, State]:
    """Kind, shape and raw bytes of all tensors, at the end and at the tails."""
    states = {"end": checkpoint.state}
    states |= {f"tail {q}": state for q, state in checkpoint.tails.items()}
    return {
        moment: {
            name: (str(tensor.dtype), tuple(tensor.shape), tensor.numpy().tobytes())
            for name, tensor in state.items()
        }
        for moment, state in states.items()
    }


def contents(store: Store) -> dict[str, dict[str, State]]:
    """The content of every checkpoint, by key."""
    return {key: content(store.get(key)) for key in store.keys}


def poisoned(examples: Examples, revoked: np.ndarray) -> Examples:
    """The examples with every revoked row overwritten by NaN and its label by -1, or NaN too.

    Whole numbers become the smallest one, which no embedding holds.
    """
    gone = torch.from_numpy(np.isin(examples.ids, revoked))
    features, labels = examples.features.clone(), examples.labels.clone()
    real = features.is_floating_point()
    features[gone] = torch.nan if real else torch.iinfo(features.dtype).min
    labels[gone] = torch.nan if labels.is_floating_point() else -1
    return replace(examples, features=features, labels=labels)


def retrained(plan: Plan, examples: Examples, revoked: np.ndarray) -> dict[str, dict[str, State]]:
    """Contents by key of training in this process, with the plan's model and spec, on poison."""
    poison, store = poisoned(examples, revoked), MemoryStore()
    again = make_plan(poison, plan.architecture, plan.spec, revoked=revoked)
    train.train(again, store, on_progress=False)
    return contents(store)


class Leaky(Examples):
    """A fault to be found: inputs are centred by a mean that the revoked rows take part in."""

    def __getitem__(self, ids: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Some examples, centred."""
        inputs, labels = super().__getitem__(ids)
        return inputs - self.inputs().mean(0), labels

    def read(self, ids: Any, into: torch.Tensor) -> torch.Tensor:
        """The same, where the kernel wants it."""
        inputs, labels = self[ids]
        into.copy_(inputs.flatten(1))
        return labels


def train_from_scratch(
    name: str, data: tuple[np.ndarray, ...], revoked: np.ndarray, leak: bool
) -> Scratch:
    """Partition, plan and train the case anew, from nothing but what is passed."""
    ids, features, labels = data
    case, kind = CASES[name], Leaky if leak else Examples
    examples = kind(ids, torch.tensor(features), torch.tensor(labels))
    plan = make_plan(
        examples,
        case.architecture(),
        case.spec,
        partition=case.partition(examples),
        revoked=revoked,
    )
    store = MemoryStore()
    report = train.train(plan, store)
    return Scratch([stage.key for stage in plan.stages], contents(store), report.visits)


class Worker:
    """The parent's end."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def scratch(
        self, name: str, examples: Examples, revoked: np.ndarray, *, leak: bool = False
    ) -> Scratch:
        """Training from scratch there, on these examples as they are; errors are raised here."""
        data = (examples.ids, examples.features.numpy(), examples.labels.numpy())
        assert self._process.stdin and self._process.stdout
        pickle.dump((name, data, revoked, leak), self._process.stdin)
        self._process.stdin.flush()
        answer: Scratch | Exception = pickle.load(self._process.stdout)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Answer until there are no more messages; results go out under this module's own name."""
    import worker

    channel, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            message: Any = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Any = worker.train_from_scratch(*message)
        except Exception as error:
            answer = error
        pickle.dump(answer, channel)
        channel.flush()


if __name__ == "__main__":
    main()
