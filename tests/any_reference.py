"""The reference for foreign modules: a process that has not met any row which is revoked.

As a script, it reads pickled messages from its standard input and answers each in a process that it
forks, so that no answer leaves anything behind in a global. A parent talks to it through
:class:`Reference`.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.fx.experimental.symbolic_shapes  # a backward pass would import it in each child

import unlearnkit
from any_modules import ZOO, dataset
from unlearnkit import TrainSpec
from unlearnkit.models.architecture import as_architecture
from unlearnkit.store import MemoryStore
from unlearnkit.training import train
from unlearnkit.training.plan import make_plan
from worker import State, contents, poisoned

ROOT = Path(unlearnkit.__file__).resolve().parent.parent
OUTSIDE = 10**6  # no token, and so a row that cannot be read unnoticed

Contents = dict[str, dict[str, State]]


def retrained(name: str, spec: TrainSpec, revoked: np.ndarray) -> Contents:
    """Train a module from scratch on rows of which the revoked ones hold no data."""
    kind = ZOO[name]
    data = dataset(kind.data)
    if data.train.features.is_floating_point():
        examples = poisoned(data.train, revoked)
    else:
        features, labels = data.train.features.clone(), data.train.labels.clone()
        gone = torch.from_numpy(np.isin(data.train.ids, revoked))
        features[gone], labels[gone] = OUTSIDE, -1
        examples = replace(data.train, features=features, labels=labels)
    architecture = as_architecture(kind.model, data.feature_shape, data.num_outputs)
    plan, store = make_plan(examples, architecture, spec, revoked=revoked), MemoryStore()
    train.train(plan, store)
    return contents(store)


class Reference:
    """The parent's end."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def contents(self, name: str, spec: TrainSpec, revoked: Collection[int]) -> Contents:
        """What training from scratch without these ids gives, by the keys of its stages."""
        assert self._process.stdin and self._process.stdout
        pickle.dump((name, spec, np.array(sorted(revoked))), self._process.stdin)
        self._process.stdin.flush()
        answer = pickle.load(self._process.stdout)
        if isinstance(answer, str):
            raise AssertionError(f"training from scratch stops: {answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Answer until there are no more messages, each in a forked process."""
    channel, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            message = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        try:
            answer: Contents | str = retrained(*message)
        except Exception:
            answer = traceback.format_exc()
        pickle.dump(answer, channel)
        channel.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
