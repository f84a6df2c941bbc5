"""Files of a store changed by somebody else, with every digest put right again."""

import hashlib
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Refuse to allocate more than that beyond what is allocated now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def sealed(data: bytes) -> bytes:
    """A checkpoint file with its digest put right, so that what follows is looked at."""
    begin = 8 + len(b'{"__metadata__":{"digest":"')
    digest = hashlib.sha256(data[:begin] + data[begin + 64 :]).hexdigest().encode()
    return data[:begin] + digest + data[begin + 64 :]


def with_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's content and put its digest right."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["content"])
    text = json.dumps(manifest["content"], sort_keys=True, separators=(",", ":"))
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def altered(folder: Path, at: Callable[[dict[str, Any]], slice]) -> Path:
    """Change a number of a clean checkpoint and put every digest right again."""
    path = next(p for p in sorted(folder.glob("shard-*/*")) if "approximate" not in p.name)
    old = path.read_bytes()
    length = int.from_bytes(old[:8], "little")
    header = json.loads(old[8 : 8 + length])
    place = at(header)
    where = 8 + length + place.start
    new = sealed(old[:where] + bytes([old[where] ^ 1]) + old[where + 1 :])
    path.write_bytes(new)
    digest = json.loads(new[8 : 8 + length])["__metadata__"]["digest"]
    name = f"{path.parent.name}/{path.name}"
    with_manifest(folder, lambda content: content["files"][name].__setitem__(2, digest))
    return path


def offsets(tensor: str) -> Callable[[dict[str, Any]], slice]:
    """Where a tensor begins, after the header."""
    return lambda header: slice(
        *next(v["data_offsets"] for k, v in header.items() if k.startswith(tensor))
    )
