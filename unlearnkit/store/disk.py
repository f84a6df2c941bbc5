"""A store in a folder.

    manifest.json                          the run, the head of the ledger, the committed files
    ledger.jsonl                           one line per operation, chained by digests
    partition.safetensors                  shard and slice of each example, for audits
    secret.key                             key for digests of ids; readable by its owner only
    shard-0003/<key>.safetensors           a clean checkpoint
    shard-0003/approximate-<key>.safetensors   an approximation

A checkpoint file is written once, under a temporary name, then renamed and never changed; to
destroy it means to unlink it. A checkpoint that was put survives the death of the process.
:meth:`DiskStore.commit` waits until all files are on the device and then replaces the manifest. At
that moment a training or an unlearning takes effect. When a store is opened, uncommitted files that
are incomplete (after a power failure) are deleted; damage to a committed file is an error.
"""

import contextlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from safetensors.numpy import load, save

from unlearnkit.interrupts import interruptible
from unlearnkit.store.checkpoint import Approximation, Checkpoint
from unlearnkit.store.codec import NAME, decode, encode, name_of
from unlearnkit.store.files import (
    COPIED,
    MismatchError,
    NoStoreError,
    StoreError,
    StoreIOError,
    check_own_file,
    damaged_file,
    is_missing,
    make_folder,
    of_a_copy,
    read,
    remove_temporary,
    replace_file,
    reporting_damage,
    reporting_failure,
    scan,
    unfinished_files,
)
from unlearnkit.store.footprint import CACHE_BYTES
from unlearnkit.store.ledger_chain import read_lines
from unlearnkit.store.lock import Lock
from unlearnkit.store.manifest import LEDGER, MANIFEST, File, Manifest
from unlearnkit.store.memory import MemoryStore

ARRAYS, SECRET = "partition.safetensors", "secret.key"
Digests = dict[str, str]

# Open stores by real path: a second store on the same folder in this process replaces the first.
_OPEN: "WeakValueDictionary[str, DiskStore]" = WeakValueDictionary()


class DiskStore:
    """A store in a folder, to which one process at a time may write.

    >>> import tempfile
    >>> import unlearnkit as uk
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = uk.DiskStore(folder.name, wait_seconds=10)
    >>> report = uk.Session("digits", model="logistic", epochs=2, seed=0, store=store).train()
    >>> store.close()
    >>> uk.Session(store=folder.name)  # data, model and settings are those of the folder
    Session(digits, logistic, 5 shards x 3 slices, trained)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        read_only: bool = False,
        repair: bool = False,
        wait_seconds: float = 0,
        name_ids: bool = True,
        lock: bool = True,
    ) -> None:
        """Open the store in a folder, or create it.

        If the same process opens a folder twice, as when a notebook cell is run again, the new
        object may write and the old one can only be read.

        Args:
            folder: folder of the store.
            read_only: open the committed state without a lock, and refuse to change anything.
            repair: drop damaged and missing files; their stages are then trained again.
            wait_seconds: how long to wait for another process that holds the store.
            name_ids: whether new lines of the ledger contain the revoked ids themselves. If False,
                they contain keyed digests, so that the ledger can be given to others without
                revealing the ids.
            lock: False opens the folder without a lock, on a file system that has none. Then
                nothing prevents a second process from writing to it.

        Raises:
            StoreInUseError: another process holds the store.
            NoLocksError: the file system has no locks.
            StoreError: the store is damaged.
            StoreIOError: the folder cannot be read or written.
        """
        # Absolute, so that it stays this folder wherever the process goes.
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        if self.folder.is_file():
            raise StoreError(f"{self.folder} is a file; give the path of a folder for the store")
        self.read_only = read_only
        self.name_ids = name_ids
        self._lock = threading.RLock()
        self._cache: OrderedDict[str, Checkpoint | Approximation] = OrderedDict()
        self._files: dict[str, File] = {}  # all files written, by name
        self._clean: dict[str, str] = {}  # names by key
        self._approximate: dict[str, str] = {}  # names by base
        self._kinds: dict[str, tuple[Any, Any]] | None = None  # see expect()
        self._others = False
        self._manifest = Manifest(self.folder)
        self._writer_lock: Lock | None = None
        if read_only:
            with reporting_failure(self.folder, "opened"):
                self._open_read_only()
            return
        with reporting_failure(self.folder, "opened"):
            self._open_to_write(repair, wait_seconds, lock)

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
    def uncommitted(self) -> bool:
        """Whether files were written since the last commit."""
        with self._lock:
            return bool(self._manifest.unsynced)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """Description of the run; None in a new store."""
        return self._manifest.run

    def get(self, key: str) -> Checkpoint:
        """Return the clean checkpoint of this key.

        Raises:
            KeyError: there is no such checkpoint.
            StoreError: its file is damaged.
            StoreIOError: its file cannot be read now.
        """
        kept = self._load(self._clean[key])
        assert isinstance(kept, Checkpoint)  # by its name
        return kept

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint.

        Raises:
            StoreIOError: its file could not be written.
        """
        if checkpoint.key not in self._clean:  # equal keys mean equal bits
            self._put(checkpoint)

    def approximation(self, base: str) -> Approximation | None:
        """Return the approximation whose base is this key of a final stage, or None."""
        name = self._approximate.get(base)
        kept = None if name is None else self._load(name)
        assert kept is None or isinstance(kept, Approximation)  # by its name
        return kept

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation, replacing an earlier one with the same base key."""
        if approximation.base in self._approximate:
            self._destroy({self._approximate[approximation.base]})
        self._put(approximation)

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy all clean checkpoints and approximations that are not listed.

        Args:
            clean: keys of the clean checkpoints to keep.
            approximate: base keys of the approximations to keep.

        Returns:
            The number of checkpoints and approximations destroyed.
        """
        keep_clean, keep_approximate = set(clean), set(approximate)
        to_unlink = {name for key, name in self._clean.items() if key not in keep_clean}
        to_unlink |= {n for base, n in self._approximate.items() if base not in keep_approximate}
        if to_unlink:
            self._destroy(to_unlink)
        return len(to_unlink)

    def commit(
        self, run: dict[str, Any] | None = None, lines: Iterable[dict[str, Any]] = ()
    ) -> None:
        """Wait until all files are on the device, then replace the manifest atomically.

        Args:
            run: description of the run for the manifest; None keeps the current one.
            lines: lines to append to the ledger in the same commit.

        Raises:
            StoreIOError: a file could not be written.
        """
        self.need_writable()
        with reporting_failure(self.folder, "written"):
            self._manifest.commit(run, self._files, lines)

    @property
    def head(self) -> str:
        """Digest of the last line of the ledger, which covers all lines before it."""
        return self._manifest.ledger.head

    def ledger(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield the lines of the ledger, oldest first, each with its digest.

        Raises:
            StoreError: the ledger does not match the head in the manifest.
        """
        path, data = self.folder / LEDGER, b""
        extent = self._manifest.ledger
        if extent.lines:
            with reporting_damage(path):
                data = read(path)
        return read_lines(path, data, extent)

    def keep_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the arrays of the run that never change, such as its partition."""
        self.need_writable()
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        with reporting_failure(self.folder, "written"):
            replace_file(self.folder / ARRAYS, [data], sync=True)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`keep_arrays` kept.

        Raises:
            StoreError: their file is damaged.
        """
        path = self.folder / ARRAYS
        with reporting_damage(path):
            return dict(load(read(path)))

    def digests(self, keys: Iterable[str], bases: Iterable[str]) -> tuple[Digests, Digests]:
        """Return the digests of the files of clean checkpoints and of approximations, by file name.

        Args:
            keys: keys of clean checkpoints; those that are not in the store are ignored.
            bases: base keys of approximations; likewise.
        """
        with self._lock:
            clean = [self._clean[key] for key in set(keys) & self._clean.keys()]
            approximate = [self._approximate[b] for b in set(bases) & self._approximate.keys()]
            files = self._files
            return {n: files[n].digest for n in clean}, {n: files[n].digest for n in approximate}

    def secret(self) -> bytes:
        """Return the key for digests of ids, creating it if necessary.

        Without a key, ids could be recovered from their digests by trying small integers.

        Raises:
            StoreError: the file is damaged, or is absent and the store is read-only.
        """
        path = self.folder / SECRET
        if self._manifest.ledger.lines and not os.path.lexists(path):
            raise damaged_file(path, FileNotFoundError("it is missing"))  # lines depend on it
        with self._lock:  # two threads must not make two keys
            if not os.path.lexists(path) and not self.read_only:
                self.need_writable()
                with reporting_failure(self.folder, "written"):
                    replace_file(path, [secrets.token_hex(32).encode()], sync=True, mode=0o600)
            with reporting_damage(path):
                secret = read(path)
                if len(secret) != 64:
                    raise ValueError(f"it has {len(secret)} bytes, not 64")
        return secret

    def unlisted(self) -> list[str]:
        """List uncommitted files in the folder, from a run in progress or an interrupted one."""
        return [name for name, _ in scan(self.folder) if name not in self._manifest.listed]

    def verify(self) -> int:
        """Read every file and check its digest; return the number of files.

        Raises:
            StoreError: a file is damaged.
        """
        for name in sorted(self._files):
            self._read(name, self._files[name])
        return len(self._files)

    def fork(self) -> MemoryStore:
        """Return a copy in memory, including all tensors."""
        other = MemoryStore()
        for key in tuple(self._clean):
            other.put(self.get(key))
        for base in tuple(self._approximate):
            if (approximation := self.approximation(base)) is not None:
                other.put_approximation(approximation)
        return other

    def expect(self, kinds: Mapping[str, tuple[Any, Any]], *, others: bool = False) -> None:
        """Refuse, from now on, checkpoints that are not of a model with these tensors.

        Args:
            kinds: shape and dtype of each tensor by name; None in place of a dtype accepts any.
            others: whether a state may have tensors of other names as well.
        """
        with self._lock:
            self._kinds, self._others = dict(kinds), others
            self._cache.clear()

    def close(self) -> None:
        """Release the lock; from then on this store can only be read."""
        if self._writer_lock is not None:
            self._writer_lock.release()
            self._writer_lock = None

    def need_writable(self) -> None:
        """Check that this object may write.

        Raises:
            StoreError: the store was opened read-only, was closed, or is held by a parent process;
                or its folder was deleted, moved or replaced.
        """
        if self.read_only:
            raise StoreError(f"the store in {self.folder} was opened read-only; open it to write")
        if self._writer_lock is None:
            raise StoreError(
                f"the store in {self.folder} was closed, or opened again in this process; use "
                "the newer object, or open the store again"
            )
        self._writer_lock.need()

    # Implementation

    def _put(self, kept: Checkpoint | Approximation) -> None:
        """Write a file synchronously.

        A separate writer thread would not be faster, and a finished stage would be lost if the
        process were killed before it is written.
        """
        name = name_of(kept)
        self.need_writable()
        path, (pieces, digest) = self.folder / name, encode(kept)
        with reporting_failure(self.folder, "written"):
            try:
                replace_file(path, pieces, sync=False)
            except FileNotFoundError:  # the first file of its shard
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path.parent)
                replace_file(path, pieces, sync=False)
        with self._lock:
            self._files[name] = File(sum(map(len, pieces)), kept.nbytes, digest)
            self._manifest.unsynced.add(name)
            self._manifest.to_unlink.discard(name)
            self._index(kept, name)

    def _index(self, kept: Checkpoint | Approximation, name: str) -> None:
        if isinstance(kept, Approximation):
            self._approximate[kept.base] = name
        else:
            self._clean[kept.key] = name

    def _forget(self, name: str) -> None:
        """Remove a file from all indexes."""
        with self._lock:
            self._cache.pop(name, None)
            self._files.pop(name, None)
            self._manifest.unsynced.discard(name)
            for index in (self._clean, self._approximate):
                for key in [key for key, other in index.items() if other == name]:
                    del index[key]

    def _load(self, name: str) -> Checkpoint | Approximation:
        with self._lock:
            kept = self._cache.get(name)
            if kept is None:
                file = self._files[name]
                while self._cache and self._cached + file.nbytes > CACHE_BYTES:
                    self._cache.popitem(last=False)
                kept = self._read(name, file)
                if file.nbytes <= CACHE_BYTES:
                    self._cache[name] = kept
            else:
                self._cache.move_to_end(name)
            return kept

    @property
    def _cached(self) -> int:
        return sum(self._files[name].nbytes for name in self._cache)

    def _read(self, name: str, file: File) -> Checkpoint | Approximation:
        try:
            kept, digest = decode(name, read(self.folder / name, file.size))
            if digest != file.digest:
                raise MismatchError("it is not the file that was written")
            self._check_kinds(kept)
        except Exception as error:  # whatever the reader raised, the file is damaged
            if isinstance(error, OSError) and not is_missing(error):
                with reporting_failure(self.folder, "read"):  # the file may be intact
                    raise
            if self._writer_lock is None and isinstance(error, FileNotFoundError):
                raise StoreError(
                    f"{self.folder / name} was destroyed since this store was opened to read; "
                    "open it again"
                ) from error
            raise _damaged(self.folder / name, error) from error
        return kept

    def _check_kinds(self, kept: Checkpoint | Approximation) -> None:
        if self._kinds is None:
            return
        parts = kept.checkpoints.values() if isinstance(kept, Approximation) else (kept,)
        for state in (state for part in parts for state in (part.state, *part.tails.values())):
            if not self._others and state.keys() != self._kinds.keys():
                raise ValueError("its tensors are not those of the run's model")
            for name, (shape, dtype) in self._kinds.items():
                tensor = state[name]
                if tensor.shape != shape or dtype not in (None, tensor.dtype):
                    raise ValueError(
                        f"its tensor {name!r} is {tuple(tensor.shape)} {tensor.dtype}, but the "
                        f"run's model has {tuple(shape)}"
                    )

    def _destroy(self, names: set[str]) -> None:
        """Unlink files, after removing them from the manifest so that none is found missing.

        Files that cannot be unlinked stay in a list in the manifest; the next commit or opening of
        the store tries again.
        """
        self.need_writable()
        with reporting_failure(self.folder, "destroyed"):
            manifest, to_unlink = self._manifest, self._manifest.to_unlink
            manifest.to_unlink = to_unlink | names
            if names & manifest.listed.keys():
                # The files that replace them are committed at the same time.
                kept = {n: f for n, f in self._files.items() if n not in names}
                try:
                    manifest.write(manifest.run, kept, manifest.ledger)
                except BaseException:
                    manifest.to_unlink = to_unlink
                    raise
            for name in names:
                self._forget(name)
            manifest.unlink_files()

    @interruptible()
    def _open_to_write(self, repair: bool, wait_seconds: float, lock: bool) -> None:
        make_folder(self.folder)
        real = os.path.realpath(self.folder)
        earlier = _OPEN.get(real)
        if earlier is not None:
            earlier.close()
        self._writer_lock = Lock(self.folder, wait_seconds, lock=lock)
        _OPEN[real] = self
        try:
            self._open(repair)
        except BaseException:
            self.close()
            raise

    def _open(self, repair: bool) -> None:
        for path in list(unfinished_files(self.folder)):
            remove_temporary(path)
        check_own_file(self.folder / LEDGER)  # before work that would be lost is begun
        destroy = self._manifest.read()
        found = dict(scan(self.folder))
        for name in destroy & found.keys():  # interrupted before they were unlinked
            os.unlink(self.folder / name)
        broken: set[str] = set()
        for name, file in self._manifest.listed.items():
            try:
                if name not in found:
                    raise FileNotFoundError("it is missing")
                if repair:
                    self._read(name, file)
                elif found[name] != file.size:
                    raise MismatchError(f"it has {found[name]} bytes, but {file.size} were written")
            except Exception as error:  # whatever the reader raised, the file is damaged
                if isinstance(error, StoreIOError):
                    raise  # the file may be intact
                if not repair:
                    raise _damaged(self.folder / name, error) from error
                broken.add(name)
        for name in found.keys() - destroy - broken:
            if name in self._manifest.listed:
                self._register(name, self._manifest.listed[name])
            else:
                self._adopt(name)
        if broken:
            self._destroy(broken)

    def _open_read_only(self) -> None:
        """Open read-only: index the files of one consistent committed state."""
        path = self.folder / MANIFEST
        for _ in range(10):
            try:
                before = path.stat()
                self._manifest.read()
                missing = [n for n in self._manifest.listed if not os.path.lexists(self.folder / n)]
                now = path.stat()
            except FileNotFoundError as error:
                # Without a manifest, the folders of shards are what is left of a damaged store.
                kind = StoreError if any(self.folder.glob("shard-*")) else NoStoreError
                hint = COPIED if kind is StoreError else ""
                raise kind(
                    f"{self.folder} holds no store to read ({MANIFEST} is missing){hint}"
                ) from error
            if (before.st_ino, before.st_mtime_ns) == (now.st_ino, now.st_mtime_ns):
                break  # otherwise another process wrote meanwhile
        if missing:
            raise _damaged(self.folder / missing[0], FileNotFoundError("it is missing"))
        for name, file in self._manifest.listed.items():
            self._register(name, file)

    def _register(self, name: str, file: File) -> None:
        """Add a committed file to the indexes."""
        _, approximate, key = NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        self._files[name] = file
        (self._approximate if approximate else self._clean)[key] = name

    def _adopt(self, name: str) -> None:
        """Add a file that was written but not committed to the indexes; delete it if incomplete."""
        path = self.folder / name
        try:
            data = read(path)
            kept, digest = decode(name, data)
        except OSError:
            raise  # the file may be intact
        except Exception:  # it was never committed, so it may be deleted
            os.unlink(path)
            return
        self._files[name] = File(len(data), kept.nbytes, digest)
        self._manifest.unsynced.add(name)
        self._index(kept, name)


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or open the "
        f"store once with DiskStore({str(path.parents[1])!r}, repair=True), which drops damaged "
        f"files so that their stages are trained again{of_a_copy(error)}"
    )
