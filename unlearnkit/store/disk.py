"""The store in a folder.

    manifest.json                          the run, the ledger's head, and the files committed
    ledger.jsonl                           a line for all that was done, chained by digests
    partition.safetensors                  who is in which shard and slice, for an audit
    secret.key                             for keyed digests of ids; kept from others
    shard-0003/<key>.safetensors           a clean checkpoint
    shard-0003/approximate-<key>.safetensors   an approximation

Each file is written once, under a temporary name, and never again; destroying is unlinking. What is
put outlives the process from then on. :meth:`DiskStore.commit` has everything on the device, and
then replaces the manifest: the moment at which a training or an unlearning takes effect. A
file that was never committed and is torn (a power cut) is dropped when the store is opened; damage
to a committed one is an error.
"""

import contextlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from safetensors.numpy import load, save

from unlearnkit.store.checkpoint import Approximation, Checkpoint
from unlearnkit.store.codec import NAME, decode, encode, name_of
from unlearnkit.store.files import (
    StoreError,
    StoreIOError,
    broken,
    is_missing,
    read,
    replace_file,
    scan,
    telling,
    unfinished,
)
from unlearnkit.store.ledger_file import unchain
from unlearnkit.store.lock import Hold
from unlearnkit.store.manifest import LEDGER, MANIFEST, File, Manifest
from unlearnkit.store.memory import MemoryStore

CACHE_BYTES = 256 << 20  # tensors read and kept at hand; more are read again
ARRAYS, SECRET = "partition.safetensors", "secret.key"

# By real path: a folder has one writer, and a second one in this process takes its place.
_OPEN: "WeakValueDictionary[str, DiskStore]" = WeakValueDictionary()


class DiskStore:
    """A store in a folder, which one process at a time may write to."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        read_only: bool = False,
        repair: bool = False,
        wait_seconds: float = 0,
        name_ids: bool = True,
    ) -> None:
        """Open a folder, or make it.

        Opened again in the same process, a store passes to the new object: a notebook's cell may be
        run twice. The old one can then only be read.

        Args:
            folder: of the store.
            read_only: open what is committed, whoever else writes; refuse to change anything.
            repair: let go of files that are damaged or missing; their stages are trained again.
            wait_seconds: how long to wait for another process that holds the store.
            name_ids: whether new lines of the ledger name revoked ids as they are, or by keyed
                digests: such a ledger can be handed on without the rest of the folder.

        Raises:
            StoreInUseError: another process holds it.
            StoreError: it is damaged.
        """
        self.folder = Path(folder)
        self.read_only = read_only
        self.name_ids = name_ids
        self._lock = threading.RLock()
        self._cache: OrderedDict[str, Checkpoint | Approximation] = OrderedDict()
        self._files: dict[str, File] = {}  # all that is written, by name
        self._clean: dict[str, str] = {}  # names by key
        self._approximate: dict[str, str] = {}  # names by base
        self._manifest = Manifest(self.folder)
        self._holds: Hold | None = None
        if read_only:
            self._look()
            return
        with telling(self.folder, "opened"):
            os.makedirs(self.folder, exist_ok=True)
            earlier = _OPEN.get(os.path.realpath(self.folder))
            if earlier is not None:
                earlier.close()
            self._holds = Hold(self.folder, wait_seconds)
            _OPEN[os.path.realpath(self.folder)] = self
            try:
                self._open(repair)
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return (
            f"DiskStore({str(self.folder)!r}, {len(self._clean)} checkpoints, "
            f"{len(self._approximate)} approximate shards, {self.nbytes / 1e6:.1f} MB)"
        )

    def __contains__(self, key: object) -> bool:
        return key in self._clean

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all clean checkpoints."""
        return frozenset(self._clean)

    @property
    def bases(self) -> frozenset[str]:
        """Base keys of all approximations."""
        return frozenset(self._approximate)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors kept."""
        with self._lock:
            return sum(file.nbytes for file in self._files.values())

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the run says of itself; None in a new store."""
        return self._manifest.run

    def get(self, key: str) -> Checkpoint:
        """The clean checkpoint of this key; KeyError if it is not there.

        Raises:
            KeyError: it is not there.
            StoreError: its file is damaged.
            StoreIOError: its file cannot be read now.
        """
        kept = self._load(self._clean[key])
        assert isinstance(kept, Checkpoint)  # by its name
        return kept

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint.

        Raises:
            StoreIOError: it could not be written.
        """
        if checkpoint.key not in self._clean:  # the same key is the same bits
            self._put(checkpoint)

    def approximation(self, base: str) -> Approximation | None:
        """The approximation that stands for this final key, if any."""
        name = self._approximate.get(base)
        kept = None if name is None else self._load(name)
        assert kept is None or isinstance(kept, Approximation)  # by its name
        return kept

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation beside what is there."""
        if approximation.base in self._approximate:
            self._destroy({self._approximate[approximation.base]})
        self._put(approximation)

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy every clean key and every approximation's base key not listed; count them."""
        keep_clean, keep_approximate = set(clean), set(approximate)
        doomed = {name for key, name in self._clean.items() if key not in keep_clean}
        doomed |= {n for base, n in self._approximate.items() if base not in keep_approximate}
        if doomed:
            self._destroy(doomed)
        return len(doomed)

    def commit(
        self, run: dict[str, Any] | None = None, lines: Iterable[dict[str, Any]] = ()
    ) -> None:
        """Have everything on the device, then replace the manifest, all at once.

        Args:
            run: what the manifest is to say of the run; what it says by default.
            lines: to be added to the ledger, by the same stroke.

        Raises:
            StoreIOError: something could not be written.
        """
        self.need_writable()
        with telling(self.folder, "written"):
            self._manifest.commit(run, self._files, lines)

    @property
    def head(self) -> str:
        """Digest of the last line of the ledger, which fixes all lines before it."""
        return self._manifest.chain.head

    def ledger(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Lines of the ledger, oldest first, each with the digest that the head had with it.

        Raises:
            StoreError: the ledger is not the one whose head the manifest names.
        """
        path = self.folder / LEDGER
        chain = self._manifest.chain
        return unchain(path, self._bytes(path) if chain.lines else b"", chain)

    def keep_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep arrays that belong to the run and never change: its partition."""
        self.need_writable()
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        with telling(self.folder, "written"):
            replace_file(self.folder / ARRAYS, [data], sync=True)

    def arrays(self) -> dict[str, np.ndarray]:
        """What :meth:`keep_arrays` kept.

        Raises:
            StoreError: it is damaged.
        """
        path = self.folder / ARRAYS
        try:
            return dict(load(self._bytes(path)))
        except (StoreError, StoreIOError):
            raise
        except Exception as error:  # any of the reader's errors means one thing to the user
            raise broken(path, error) from error

    def secret(self) -> bytes:
        """The key of keyed digests: small ids could be guessed from plain ones.

        Raises:
            StoreError: it is damaged, or there is none yet and this store may only be read.
        """
        path = self.folder / SECRET
        if not os.path.lexists(path) and not self.read_only:
            self.need_writable()
            with telling(self.folder, "written"):
                replace_file(path, [secrets.token_hex(32).encode()], sync=True, mode=0o600)
        secret = self._bytes(path)
        if len(secret) != 64:
            raise broken(path, ValueError(f"it has {len(secret)} bytes, not 64"))
        return secret

    def unlisted(self) -> list[str]:
        """Files in the folder that are not committed: of a run that is going on, or was stopped."""
        return [name for name, _ in scan(self.folder) if name not in self._manifest.listed]

    def verify(self) -> int:
        """Read every file and check its digest; the number of files.

        Raises:
            StoreError: one is damaged.
        """
        for name in sorted(self._files):
            self._read(name, self._files[name])
        return len(self._files)

    def fork(self) -> MemoryStore:
        """A copy in memory, with all of its tensors."""
        other = MemoryStore()
        for key in tuple(self._clean):
            other.put(self.get(key))
        for base in tuple(self._approximate):
            if (approximation := self.approximation(base)) is not None:
                other.put_approximation(approximation)
        return other

    def close(self) -> None:
        """Let others write; from then on this one can only be read."""
        if self._holds is not None:
            self._holds.release()
            self._holds = None

    def need_writable(self) -> None:
        """Check that this object may write.

        Raises:
            StoreError: it was opened read-only, or closed.
        """
        if self.read_only:
            raise StoreError(f"the store in {self.folder} was opened read-only; open it to write")
        if self._holds is None:
            raise StoreError(
                f"the store in {self.folder} was closed, or opened again in this process; use the "
                "newer one, or open it again"
            )
        if self._holds.pid != os.getpid():
            raise StoreError(
                f"the store in {self.folder} is held by process {self._holds.pid}, from which this "
                "one was forked; write to it there"
            )

    # Inside

    def _put(self, kept: Checkpoint | Approximation) -> None:
        """Write it here and now.

        A thread that writes beside training was no faster: it slowed training down by what it took
        over, and a finished stage was lost where the process was killed before its turn came.
        """
        name = name_of(kept)
        self.need_writable()
        path, (pieces, digest) = self.folder / name, encode(kept)
        with telling(self.folder, "written"):
            try:
                replace_file(path, pieces, sync=False)
            except FileNotFoundError:  # the first of its shard
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path.parent)
                replace_file(path, pieces, sync=False)
        with self._lock:
            self._files[name] = File(sum(map(len, pieces)), kept.nbytes, digest)
            self._manifest.fresh.add(name)
            self._manifest.doomed.discard(name)
            self._index(kept, name)

    def _index(self, kept: Checkpoint | Approximation, name: str) -> None:
        if isinstance(kept, Approximation):
            self._approximate[kept.base] = name
        else:
            self._clean[kept.key] = name

    def _drop(self, name: str) -> None:
        """Forget that a file is, or was to be, there."""
        with self._lock:
            self._cache.pop(name, None)
            self._files.pop(name, None)
            self._manifest.fresh.discard(name)
            for index in (self._clean, self._approximate):
                for key in [key for key, other in index.items() if other == name]:
                    del index[key]

    def _load(self, name: str) -> Checkpoint | Approximation:
        with self._lock:
            kept = self._cache.get(name)
            if kept is None:
                kept = self._cache[name] = self._read(name, self._files[name])
                while len(self._cache) > 1 and self._cached > CACHE_BYTES:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(name)
            return kept

    @property
    def _cached(self) -> int:
        return sum(self._files[name].nbytes for name in self._cache)

    def _read(self, name: str, file: File) -> Checkpoint | Approximation:
        try:
            kept, digest = decode(name, read(self.folder / name, file.size))
            if digest != file.digest:
                raise ValueError("it is not the file that was written")
        except Exception as error:  # any of the reader's errors means one thing to the user
            if isinstance(error, OSError) and not is_missing(error):
                with telling(self.folder, "read"):  # it may be whole
                    raise
            if self._holds is None and isinstance(error, FileNotFoundError):
                raise StoreError(
                    f"{self.folder / name} was destroyed since this store was opened to be read; "
                    "open it again"
                ) from error
            raise _damaged(self.folder / name, error) from error
        return kept

    def _destroy(self, names: set[str]) -> None:
        """Unlink files; those that the manifest lists leave it first, so that none is missed.

        What cannot be unlinked stays on a list in the manifest, for the next try or the next open.
        """
        self.need_writable()
        with telling(self.folder, "destroyed"):
            manifest, doomed = self._manifest, self._manifest.doomed
            manifest.doomed = doomed | names
            if names & manifest.listed.keys():
                # What takes their place is committed by the same stroke.
                kept = {n: f for n, f in self._files.items() if n not in names}
                try:
                    manifest.write(manifest.run, kept, manifest.chain)
                except BaseException:
                    manifest.doomed = doomed
                    raise
            for name in names:
                self._drop(name)
            manifest.unlink_doomed()

    def _open(self, repair: bool) -> None:
        for path in list(unfinished(self.folder)):
            os.unlink(path)
        destroy = self._manifest.read()
        found = dict(scan(self.folder))
        for name in destroy & found.keys():  # of a completed request that was interrupted here
            os.unlink(self.folder / name)
        broken: set[str] = set()
        for name, file in self._manifest.listed.items():
            try:
                if name not in found:
                    raise FileNotFoundError("it is missing")
                if repair:
                    self._read(name, file)
                elif found[name] != file.size:
                    raise ValueError(f"it has {found[name]} bytes, and {file.size} were written")
            except Exception as error:  # any of the reader's errors means one thing to the user
                if isinstance(error, StoreIOError):
                    raise  # it may be whole
                if not repair:
                    raise _damaged(self.folder / name, error) from error
                broken.add(name)
        for name in found.keys() - destroy - broken:
            if name in self._manifest.listed:
                self._take(name, self._manifest.listed[name])
            else:
                self._adopt(name)
        if broken:
            self._destroy(broken)

    def _look(self) -> None:
        """Open to read: what is committed, as of one moment."""
        path = self.folder / MANIFEST
        for _ in range(10):
            try:
                before = path.stat()
                self._manifest.read()
                missing = [n for n in self._manifest.listed if not os.path.lexists(self.folder / n)]
                now = path.stat()
            except FileNotFoundError as error:
                raise StoreError(
                    f"{self.folder} holds no store to be read ({MANIFEST} is missing)"
                ) from error
            if (before.st_ino, before.st_mtime_ns) == (now.st_ino, now.st_mtime_ns):
                break  # else someone wrote meanwhile
        if missing:
            raise _damaged(self.folder / missing[0], FileNotFoundError("it is missing"))
        for name, file in self._manifest.listed.items():
            self._take(name, file)

    def _take(self, name: str, file: File) -> None:
        """Take up a committed file."""
        _, approximate, key = NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        self._files[name] = file
        (self._approximate if approximate else self._clean)[key] = name

    def _adopt(self, name: str) -> None:
        """Take up a file that was written and not committed, or drop it if it is torn."""
        path = self.folder / name
        try:
            data = read(path)
            kept, digest = decode(name, data)
        except OSError:
            raise  # it may be whole
        except Exception:  # whatever is wrong with it, nobody was promised that it is there
            os.unlink(path)
            return
        self._files[name] = File(len(data), kept.nbytes, digest)
        self._manifest.fresh.add(name)
        self._index(kept, name)

    def _bytes(self, path: Path) -> bytes:
        """A file that belongs to the store as a whole."""
        try:
            return read(path)
        except ValueError as error:
            raise broken(path, error) from error
        except OSError as error:
            if is_missing(error):
                raise broken(path, error) from error
            with telling(self.folder, "read"):
                raise


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or open the "
        f"store once by DiskStore({str(path.parents[1])!r}, repair=True), which lets go of what is "
        "damaged so that it is trained again"
    )
