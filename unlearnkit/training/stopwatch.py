"""The stopwatch: divides a training run into timed pieces of work for the clock.

The duration of a whole run is one sum over all kinds of work, from which their rates cannot be
determined. Timing the pieces during the run separates the rates at no extra cost.
"""

from collections.abc import Callable
from statistics import median

from unlearnkit.training.clock import Work
from unlearnkit.training.schedule import END, EPOCH, Job, Mark


class Stopwatch:
    """Times the work between the marks of lanes that run in lockstep.

    The first steps of a run are left out, because memory is allocated and caches are filled there.
    A stopwatch is used in the thread in which it was made, because every thread has a clock of its
    own.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Start the first lap.

        Args:
            now: returns CPU seconds (:func:`~unlearnkit.training.kernels.cpu_time.cpu_clock`).
        """
        self.now = now
        self.lap_start = now()
        self.last_step = 0
        self.group: list[Job] = []
        self.epochs, self.visits, self.starts, self.ended, self.groups = 0, 0, 0, 0, 0
        self.setup, self.starting, self.marking, self.probing = 0.0, 0.0, 0.0, 0.0
        self.layouts: list[float] = []
        self.blocks: list[tuple[int, int, float]] = []  # lockstep steps, shard-steps, seconds
        self.alone: tuple[int, float] | None = None

    def started(self, count: int) -> None:
        """Record that more starting states are ready, ``count`` of them newly initialised."""
        self.starts += count
        self.starting += self._lap()

    def started_late(self, seconds: float) -> None:
        """Record that a starting state was made when its lane began; it belongs to no lap."""
        self.starting += seconds
        self.lap_start += seconds

    def laid_out(self) -> None:
        """Record that the steps of one more job are laid out."""
        self.layouts.append(self._lap())

    def probe(self, steps: int, seconds: float, whole: float) -> None:
        """Record that one lane ran alone.

        Args:
            steps: steps that were timed.
            seconds: seconds of these steps.
            whole: seconds of the whole measurement, warm-up included; they belong to no lap.
        """
        self.alone = (steps, seconds)
        self.probing += whole
        self.lap_start += whole

    def mark(self, job: Job, mark: Mark) -> None:
        """Record that a lane has reached a mark."""
        lap = self._lap()
        if mark.step < self.last_step or (mark.step == 0 and job not in self.group):
            if mark.step < self.last_step or not self.group:
                self.group = []
                self.groups += 1
            self.group.append(job)
            self.setup += lap
        elif mark.step > self.last_step:
            steps = sum(min(len(j), mark.step) - min(len(j), self.last_step) for j in self.group)
            self.blocks.append((mark.step - self.last_step, steps, lap))
        else:
            self.marking += lap
        self.last_step = mark.step
        if mark.kind == EPOCH:
            self.epochs += 1
        elif mark.kind == END:
            self.ended += 1
            self.visits += int((job.rows >= 0).sum()) if mark is job.marks[-1] else 0

    def stored(self) -> None:
        """Record that a checkpoint was stored."""
        self.marking += self._lap()

    def timed(self) -> tuple[tuple[Work, float], ...]:
        """Return the timed work, divided by kind: the amount of each kind and its seconds."""
        # Most jobs have similar sizes, but the first one also fills caches: use the median.
        layouts = len(self.layouts) * median(self.layouts)
        found = [
            (Work(0, 0, 0, 0, 0, self.starts), self.starting),
            (Work(0, self.epochs, 0, 0, self.visits), layouts),
            (Work(0, 0, 0, 0, 0, groups=self.groups), self.setup),
            (Work(self.ended, 0, 0, 0, 0), self.marking),
        ]
        if self.alone:
            found.append((Work(0, 0, self.alone[0], self.alone[0], 0), self.alone[1]))
        warm = self.blocks[1:] or self.blocks
        by_lanes: dict[int, list[tuple[int, int, float]]] = {}
        for block in warm:
            by_lanes.setdefault(round(block[1] / block[0]), []).append(block)
        total = sum(lockstep for lockstep, _, _ in warm)
        for some in by_lanes.values():
            lockstep, steps, seconds = (sum(column) for column in zip(*some, strict=True))
            if 10 * lockstep >= total:  # shorter phases are too noisy
                found.append((Work(0, 0, int(lockstep), int(steps), 0), seconds))
        return tuple(found)

    def _lap(self) -> float:
        now = self.now()
        lap, self.lap_start = now - self.lap_start, now
        return lap
