"""List the benchmarks, or run one: ``make bench``, ``make bench NAME=gap ARGS="--quick"``."""

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def benchmarks() -> dict[str, str]:
    """Return the first line of each benchmark's docstring by its name.

    A benchmark is a file here, other than this one, that is run as a script.
    """
    found = {}
    for path in sorted(HERE.glob("*.py")):
        text = path.read_text()
        if path.stem != "run" and '\nif __name__ == "__main__":' in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named first with the other arguments; without a name list them."""
    known = benchmarks()
    if not arguments:
        width = max(map(len, known))
        print("make bench NAME=... [ARGS=...]; ARGS=--help lists the arguments of one benchmark.\n")
        for name, title in known.items():
            print(f"{name:{width}}  {title}")
        print("\nTables go to tests/benchmarks/README.md, raw rows to .bench/.")
        return 0
    name, *rest = arguments
    if name not in known:
        print(f"no benchmark is called {name!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    return subprocess.run([sys.executable, HERE / f"{name}.py", *rest]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
