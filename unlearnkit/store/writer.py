"""A thread that writes, so that training goes on meanwhile."""

import threading
from collections import deque
from collections.abc import Callable

PENDING_BYTES = 64 << 20  # what may wait at most, unless a single job is larger
LINGER_SECONDS = 0.05  # the thread waits so long for more before it ends
# Small jobs are done together, when there are so many bytes of them or after so long: waking the
# thread for each takes longer than the training of a tiny stage.
TOGETHER_BYTES, TOGETHER_SECONDS = 1 << 20, 0.05


class Writer:
    """Jobs done one after the other in a thread; what one raises comes up at the next call.

    The thread is not a daemon and ends when there is nothing to do: a process that ends in good
    order first writes what was put.
    """

    def __init__(self) -> None:
        """Start idle."""
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()
        self._bytes = 0  # of jobs that wait or are being done
        self._running = False
        self._awaited = 0  # by so many
        self._error: BaseException | None = None

    def submit(self, job: Callable[[], None], nbytes: int) -> None:
        """Have a job done; waits while too much is waiting.

        Raises:
            BaseException: what an earlier job raised; this one is then not taken.
        """
        with self._changed:
            self._wait_for(
                lambda: not self._bytes or self._bytes + nbytes <= PENDING_BYTES or self._error
            )
            self._raise()
            if not self._running:  # the thread then waits for the condition, which is held here
                threading.Thread(target=self._run, name="unlearnkit store").start()
                self._running = True
            self._jobs.append((job, nbytes))
            self._bytes += nbytes
            if len(self._jobs) == 1 or self._bytes >= TOGETHER_BYTES:
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until all jobs are done, and raise what one of them raised."""
        with self._changed:
            self._wait_for(lambda: not self._bytes)
            self._raise()

    def _wait_for(self, condition: Callable[[], object]) -> None:
        if not condition():
            self._awaited += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(condition)
            finally:
                self._awaited -= 1

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._jobs, LINGER_SECONDS):
                    self._running = False
                    return
                self._changed.wait_for(
                    lambda: self._awaited or self._bytes >= TOGETHER_BYTES, TOGETHER_SECONDS
                )
                count = len(self._jobs)
            done = 0
            for left in range(count - 1, -1, -1):
                job, nbytes = self._jobs.popleft()  # others only append
                try:
                    job()
                except BaseException as error:
                    # It belongs to whoever put the job, and comes up there.
                    self._error = self._error or error
                del job
                done += nbytes
                if not left or done >= TOGETHER_BYTES or self._error:
                    with self._changed:
                        self._bytes, done = self._bytes - done, 0
                        self._changed.notify_all()
