"""Print the addresses and badges that open this repository in one click: ``make links``.

The address is that of the git remote ``origin``. ``make links WRITE=yes`` also writes it down in
the one place from which the notebooks install the package where it is missing, as on Colab: the
entry ``Repository`` of ``[project.urls]`` in pyproject.toml, which the first code cell of every
notebook repeats.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BRANCH = "main"
INDEX = "notebooks/00-index.ipynb"
BINDER_PREFIXES = {"github.com": "gh", "gitlab.com": "gl"}

# The first code cell of every notebook. It does nothing where the package is installed.
SETUP = """\
# Where unlearnkit is missing, as on Colab, this cell installs it; elsewhere it does nothing.
import importlib.util
import os

REPOSITORY = os.environ.get("UNLEARNKIT_REPOSITORY") or "{address}"
if importlib.util.find_spec("unlearnkit") is None:
    if not REPOSITORY:
        raise ModuleNotFoundError(
            "unlearnkit is not installed, and this copy of the notebook does not know from where: "
            "expected the https address of its repository in the environment variable "
            "UNLEARNKIT_REPOSITORY, or in this cell, where `make links WRITE=yes` puts it."
        )
    %pip install --quiet git+{{REPOSITORY}}
"""


def main(write: bool) -> None:
    """Print the links; with `write` also set the address that the notebooks install from."""
    address = https_address(remote())
    print("\n".join(lines(address)))
    if write:
        set_address(address)
        print(f"\nThe notebooks now install unlearnkit from {address}.")


def remote() -> str:
    """Return the address of the git remote ``origin``."""
    command = ["git", "remote", "get-url", "origin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        sys.exit(
            "This checkout has no git remote named origin; expected the public address of the "
            "repository. Set it with\n  git remote add origin https://github.com/OWNER/NAME"
        )
    return done.stdout.strip()


def https_address(remote: str) -> str:
    """Return the https address of a remote that is given in any of git's forms, without a login.

    >>> https_address("git@github.com:someone/unlearnkit.git")
    'https://github.com/someone/unlearnkit'
    >>> https_address("https://user:secret@github.com/someone/unlearnkit.git/")
    'https://github.com/someone/unlearnkit'
    """
    scp = re.fullmatch(r"(?:[^@/\s]+@)?([\w.-]+\.\w+):(?!//)/*(.+)", remote)
    if scp:
        host, path = scp.groups()
    else:
        parts = urlsplit(remote)
        known = parts.scheme in ("https", "http", "ssh", "git", "git+ssh")
        host, path = (parts.hostname or "", parts.path) if known else ("", "")
    path = path.strip("/").removesuffix(".git").rstrip("/")
    if "." not in host or not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)+", path):
        sys.exit(
            f"The git remote origin is {remote!r}; expected a repository on a server, such as "
            "https://github.com/OWNER/NAME or git@github.com:OWNER/NAME.git. Change it with\n"
            "  git remote set-url origin https://github.com/OWNER/NAME"
        )
    return f"https://{host}/{path}"


def lines(address: str) -> list[str]:
    """Return what is printed for a repository at `address`, badges in Markdown first."""
    host, _, path = address.removeprefix("https://").partition("/")
    # Binder takes GitHub's owner/name as it is, and every other name as one quoted part.
    prefix = BINDER_PREFIXES.get(host, "git")
    name = {"gh": path, "gl": quote(path, safe="")}.get(prefix, quote(address, safe=""))
    binder = f"https://mybinder.org/v2/{prefix}/{name}/{BRANCH}?urlpath=lab/tree/{INDEX}"
    found = [
        f"repository      {address}",
        f"Binder          {binder}",
        f"Binder badge    [![Binder](https://mybinder.org/badge_logo.svg)]({binder})",
    ]
    if host != "github.com":
        return [
            *found,
            f"Colab and Codespaces open repositories on github.com only, not on {host}.",
        ]
    colab = f"https://colab.research.google.com/github/{path}/blob/{BRANCH}/notebooks/"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    codespace = f"https://codespaces.new/{path}"
    notebooks = sorted(
        path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb") if path.stem[:2] != "00"
    )
    return [
        *found,
        f"Colab badge     [![Colab]({badge})]({colab}{notebooks[0]})",
        *(f"Colab           {colab}{notebook}" for notebook in notebooks),
        f"dev container   {codespace}",
    ]


def address() -> str:
    """Return the address in pyproject.toml, or an empty text while it is not known."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project.get("urls", {}).get("Repository", ""))


def set_address(new: str) -> None:
    """Write the address down in pyproject.toml and in the first code cell of all notebooks."""
    file = ROOT / "pyproject.toml"
    text = re.sub(r"\n\[project\.urls\]\nRepository = .*\n", "", file.read_text())
    table = f'\n[project.urls]\nRepository = "{new}"\n'
    file.write_text(
        text.replace(
            "\n[project.optional-dependencies]", f"{table}\n[project.optional-dependencies]"
        )
    )
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if "setup" in cell["metadata"].get("tags", []):
                cell["source"] = SETUP.format(address=new).rstrip("\n").splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main("--write" in sys.argv[1:])
