"""The stopwatch: cuts a training into pieces of work that have one cause each.

One run of all lanes tells only one sum of its causes. Timed in pieces, while it runs, it tells the
rates apart and costs nothing more.
"""

import time
from statistics import median

from unlearnkit.training.clock import Work
from unlearnkit.training.schedule import END, EPOCH, Job, Mark


class Stopwatch:
    """Listens to the marks of lanes that run in lockstep.

    The first steps of a run are counted nowhere: memory is new and nothing is in a cache.
    """

    def __init__(self) -> None:
        """Start."""
        self.then = time.perf_counter()
        self.at = 0
        self.group: list[Job] = []
        self.epochs, self.visits, self.starts, self.ended = 0, 0, 0, 0
        self.setup, self.starting, self.marking, self.probing = 0.0, 0.0, 0.0, 0.0
        self.layouts: list[float] = []
        self.blocks: list[tuple[int, int, float]] = []  # lockstep steps, shard-steps, seconds
        self.alone: tuple[int, float] | None = None

    def started(self, count: int) -> None:
        """The states that jobs start from are there; so many were made anew."""
        self.starts, self.starting = count, self._lap()

    def laid_out(self) -> None:
        """The steps of one more job are there."""
        self.layouts.append(self._lap())

    def probe(self, steps: int, seconds: float, whole: float) -> None:
        """One lane was run alone for some steps; with warm-up and clearing up it took longer."""
        self.alone = (steps, seconds)
        self.probing += whole
        self.then += whole

    def mark(self, job: Job, mark: Mark) -> None:
        """A lane has come to a mark."""
        lap = self._lap()
        if mark.step < self.at or (mark.step == 0 and job not in self.group):
            self.group = [] if mark.step < self.at else self.group
            self.group.append(job)
            self.setup += lap
        elif mark.step > self.at:
            steps = sum(min(len(j), mark.step) - min(len(j), self.at) for j in self.group)
            self.blocks.append((mark.step - self.at, steps, lap))
        else:
            self.marking += lap
        self.at = mark.step
        if mark.kind == EPOCH:
            self.epochs += 1
        elif mark.kind == END:
            self.ended += 1
            self.visits += int((job.rows >= 0).sum()) if mark is job.marks[-1] else 0

    def stored(self) -> None:
        """A checkpoint was kept."""
        self.marking += self._lap()

    def timed(self) -> tuple[tuple[Work, float], ...]:
        """Work and seconds, cause by cause."""
        # Most jobs are of like size; the first fills caches that stay.
        setup = self.setup + len(self.layouts) * median(self.layouts)
        found = [
            (Work(0, 0, 0, 0, 0, self.starts), self.starting),
            (Work(0, self.epochs, 0, 0, self.visits), setup),
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
            if 10 * lockstep >= total:  # a few steps tell little
                found.append((Work(0, 0, int(lockstep), int(steps), 0), seconds))
        return tuple(found)

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self.then = now - self.then, now
        return lap
