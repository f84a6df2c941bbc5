"""Files of a store changed by somebody else, with every digest put right again."""

import hashlib
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlearnkit.records.inventory import IDENTITY, keyed
from unlearnkit.store import Approximation, DiskStore
from unlearnkit.store.files import canonical, digest_of
from unlearnkit.store.ledger_chain import LedgerExtent, append_lines


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
    manifest["digest"] = digest_of(manifest["content"])
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


def with_ledger(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the lines of the ledger, and put the digests of its chain and the manifest right."""
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_bytes().splitlines()]
    for line in lines:
        del line["previous"]
    change(lines)
    with_lines(folder, lines)


def with_lines(folder: Path, lines: list[Any]) -> None:
    """Replace the lines of the ledger, and put the digests of its chain and the manifest right."""
    (folder / "ledger.jsonl").unlink()
    extent = vars(append_lines(folder / "ledger.jsonl", LedgerExtent(), lines))
    with_manifest(folder, lambda content: content.update(ledger=extent))


def with_approximation(folder: Path, forged: Approximation) -> None:
    """Replace the approximation with the same key, and put manifest and ledger right."""
    store = DiskStore(folder)
    (name, old), *_ = store.digests([], [forged.base])[1].items()
    store.put_approximation(forged)
    store.commit()
    new, secret = store.digests([], [forged.base])[1][name], store.secret()
    store.close()

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            files = line["approximate"]
            if files.get(keyed(name, secret)) == keyed(old, secret):
                files[keyed(name, secret)] = keyed(new, secret)

    with_ledger(folder, change)


def offsets(tensor: str) -> Callable[[dict[str, Any]], slice]:
    """Where a tensor begins, after the header."""
    return lambda header: slice(
        *next(v["data_offsets"] for k, v in header.items() if k.startswith(tensor))
    )


def recorded_again(folder: Path) -> None:
    """Let the ledger record files, queue and run as they are now, as the key's holder can do."""
    content = json.loads((folder / "manifest.json").read_text())["content"]
    secret, run = (folder / "secret.key").read_bytes(), content["run"]
    files = {name: keyed(file[2], secret) for name, file in content["files"].items()}

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["clean"], line["approximate"], line["destroyed"] = {}, {}, []
            if line is lines[0]:  # all files at once
                for name, digest in files.items():
                    kind = "approximate" if "approximate" in name else "clean"
                    line[kind][keyed(name, secret)] = digest
            line["queue"] = keyed(canonical(run["queue"]), secret)
            line["run"] = keyed(canonical({part: run[part] for part in IDENTITY}), secret)

    with_ledger(folder, change)
