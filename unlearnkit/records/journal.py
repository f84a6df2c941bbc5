"""The journal of a session: its committed state, and how each step of it is saved."""

import copy
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.models.frozen.features import features_of
from unlearnkit.records.history import History
from unlearnkit.records.inventory import fields_of, says_something
from unlearnkit.records.ledger import Entry, outcome_line, repay_line, request_line, state_line
from unlearnkit.records.persistence import AnyStore, keep, provenance, resume
from unlearnkit.records.tombstones import TOMBSTONES, Tombstones
from unlearnkit.store import DiskStore
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.unlearning.boundary.protocol import Decision
from unlearnkit.unlearning.deadlines import Queue
from unlearnkit.unlearning.repay import settle_repaid
from unlearnkit.unlearning.unlearn import kept_artefacts, settle


@dataclass(frozen=True)
class CommittedState:
    """The committed state of a session at one moment.

    Attributes:
        plan: the plan of the current retain set.
        history: completed requests and repayments.
        head: the head of the ledger; None for a store in memory.
        repeated: how many steps of a foreign module were repeated.
    """

    plan: Plan
    history: History
    head: str | None
    repeated: Repeated


class Journal:
    """The committed state of a session.

    Each completed step is first saved in the store, with its line of the ledger, and only then
    in this object, so memory never runs ahead of the folder.

    Attributes:
        dataset: the dataset of the session.
        store: the store of the session.
        plan: the plan of the current retain set.
        history: completed requests and repayments.
        queue: requests that wait for their deadline.
        clock: measured rates; saved with the next commit.
        repeated: how many steps of a foreign module were repeated in all training so far; saved
            with the next commit.
        tombstones: those that the session was given.
    """

    def __init__(self, dataset: Dataset, plan: Plan, store: AnyStore) -> None:
        """Restore the state from a store, and finish or undo what an interrupted run left behind.

        Args:
            dataset: the dataset of the session.
            plan: the plan of the run, before any revocation.
            store: a new store, a store in memory, or the store of an earlier session on this run.

        Raises:
            StoreError: the store belongs to another run or is damaged.
        """
        if isinstance(store, DiskStore):
            store.expect(plan.architecture.kinds, others=plan.architecture.foreign)
        self._committing = threading.RLock()
        kept = resume(dataset, plan, store)
        self.dataset, self.store = dataset, store
        self.history, self.queue, self.clock = kept.history, kept.queue, kept.clock
        self.repeated, self.inventory = kept.repeated, kept.inventory
        self.tombstones = kept.tombstones
        self.plan = plan.without(self.history.revocations.ids)
        if isinstance(store, DiskStore) and not store.read_only:
            self.settle_repaid()
            settle(self.plan, store)
            self.commit_finished()

    def __repr__(self) -> str:
        return f"Journal({self.history!r}, {self.queue!r})"

    @property
    def state(self) -> CommittedState:
        """The committed state, which no commit of another thread tears apart."""
        with self._committing:
            head = self.store.head if isinstance(self.store, DiskStore) else None
            return CommittedState(self.plan, self.history, head, self.repeated)

    def fork(self, store: AnyStore) -> Self:
        """The same state on another store, which holds the same checkpoints."""
        other = copy.copy(self)
        other.store = store
        features = features_of(self.dataset.train)
        if features is not None:  # the copy keeps and forgets features for itself
            other.dataset = self.dataset.with_computed(features.fork())
            other.plan = replace(self.plan, examples=other.dataset.train)
        return other

    def destroy_features(self) -> None:
        """Destroy what a frozen backbone computed of examples that are revoked.

        Raises:
            StoreIOError: the file of features could not be written.
        """
        features = features_of(self.dataset.train)
        if features is not None:
            features.forget(self.history.revocations.ids)

    def save(
        self,
        line: dict[str, Any] | None = None,
        queue: Queue | None = None,
        more: Repeated = NOTHING_REPEATED,
        plan: Plan | None = None,
    ) -> dict[str, Any] | None:
        """Commit the store with the current state, and a line of the ledger if there is news.

        Args:
            line: the line to append to the ledger, or None. Without one, a line is appended that
                takes note of the files and the queue, if they have changed.
            queue: replaces the current queue once the commit has succeeded.
            more: is added to ``repeated``.
            plan: the plan whose artefacts the store is going to hold; by default the current one.

        Returns:
            The line that was appended, or None.
        """
        queue = self.queue if queue is None else queue
        repeated, inventory = self.repeated + more, self.inventory
        if isinstance(self.store, DiskStore):
            fields = self._fields(self.plan if plan is None else plan, queue)
            if line is not None or says_something(inventory, fields):
                line = {**(state_line() if line is None else line), **fields}
                inventory = inventory.after(line)
        state = self.clock, queue, repeated, line, self.tombstones
        keep(self.dataset, self.plan, self.store, *state)
        self.queue, self.repeated, self.inventory = queue, repeated, inventory
        return line

    def _fields(self, plan: Plan, queue: Queue) -> dict[str, Any]:
        """The inventory of the next line."""
        store = self.store
        assert isinstance(store, DiskStore)  # others have no ledger
        files = store.digests(*kept_artefacts(plan, store))
        run = provenance(self.dataset, plan)
        return fields_of(self.inventory, *files, queue.to_dict(), run, store.secret())

    def commit_request(
        self,
        ids: Int[np.ndarray, " request"],
        plan: Plan,
        decision: Decision,
        debt_before: int,
        *,
        method: object,
        amend: object,
    ) -> None:
        """Complete a request. It stays completed even if destroying stale files then fails.

        Args:
            ids: the ids of the request.
            plan: the plan after the request.
            decision: a route per shard.
            debt_before: number of ids owed before the request.
            method: the method that modified shards.
            amend: the amend that followed it.
        """
        store = self.store
        named = not isinstance(store, DiskStore) or store.name_ids
        line = request_line(
            ids,
            plan,
            decision,
            debt_before,
            self.secret(),
            named,
            plan_key=self._plan_key,
            method=method,
            amend=amend,
            num_groups=self.dataset.count_groups(ids),
        )
        queue = self.queue.without(ids.tolist())
        with self._committing:
            line = self.save(line, queue, decision.repeated, plan) or line
            self.history = self.history.after({**line, "ids": ids.tolist()})
            self.plan = plan
        self.destroy_features()

    def take_tombstones(self, given: Tombstones) -> None:
        """Add tombstones to those that the session was given before, and keep them."""
        store, before = self.store, self.tombstones
        self.tombstones = before | given
        if not isinstance(store, DiskStore) or store.manifest is None or store.read_only:
            return  # a new store keeps them with its first commit
        if self.tombstones != before:
            self.save()

    def commit_returned(self, ids: Int[np.ndarray, " request"]) -> None:
        """Complete a request for rows that tombstones name, before there is any model."""
        begun, worked = time.perf_counter(), time.process_time()
        decision, plan = Decision((), TOMBSTONES, None), self.plan.without(ids)
        self.commit_request(ids, plan, decision, 0, method=None, amend=None)
        spent = time.process_time() - worked
        entry, seconds = self.history.records[-1][1], time.perf_counter() - begun
        self.record_outcome(replace(entry, seconds=seconds, cpu_seconds=spent))

    def commit_repayment(self, decision: Decision, debt_before: int) -> None:
        """Complete a repayment of the shards in a decision."""
        # The approximations are destroyed after the commit; until then they record what was owed.
        models = [ShardModel(self.plan, self.store, route.shard) for route in decision.routes]
        left = debt_before - sum(len(model.debt) for model in models)
        line = repay_line(self.plan, decision, debt_before, left, self._plan_key)
        with self._committing:
            line = self.save(line, more=decision.repeated) or line
            self.history = self.history.after(line)

    def commit_finished(self) -> None:
        """Commit the stages that work finished before it was stopped, if there are any.

        Files that were dropped because they were damaged are taken note of, too.
        """
        store = self.store
        if isinstance(store, DiskStore) and store.manifest is not None:
            lost = self.inventory.known and says_something(
                self.inventory, self._fields(self.plan, self.queue)
            )
            if store.uncommitted or lost:
                self.save()

    def record_outcome(self, entry: Entry) -> None:
        """Record the measured cost of the last completion."""
        with self._committing:
            self.history = self.history.measured(entry)
            self.save(outcome_line(entry))

    def settle_repaid(self) -> None:
        """Complete repayments whose training finished but whose commit did not."""
        settle_repaid(self.plan, self.store, self.history.owing, self.commit_repayment)

    @property
    def _plan_key(self) -> bytes | None:
        """The key of digests of plans in the ledger; None in memory, where they stay."""
        return self.store.secret() if isinstance(self.store, DiskStore) else None

    def secret(self) -> bytes:
        """The key of the digests of ids; random for a store in memory."""
        store = self.store
        return store.secret() if isinstance(store, DiskStore) else secrets.token_bytes(32)
