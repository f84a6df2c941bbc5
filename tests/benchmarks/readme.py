"""Tables that a benchmark writes into the README, between two comments that name them."""

from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def put(name: str, text: str) -> None:
    """Put a table where the README has a place for it, if it has one."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = README.read_text().partition(begin)
    if found:
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"the README has no {end}")
        README.write_text(before + begin + text + end + after)
