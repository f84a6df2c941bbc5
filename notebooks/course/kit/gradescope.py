"""Pack an autograder for Gradescope: ``python gradescope.py audit audit.zip --secret FILE``.

Upload the file where Gradescope asks for the autograder of a programming assignment. It holds the
package, the marking script, one assignment and your secret, so keep it as you keep the secret.
"""

import argparse
import zipfile
from pathlib import Path

KIT = Path(__file__).resolve().parent
COURSE = KIT.parent
ROOT = COURSE.parent.parent
OWN = ("setup.sh", "run_autograder", "results.py")
MARKING = ("marking/*.py", "checks/__init__.py", "mark.py")


def files(name: str) -> dict[str, Path]:
    """Files of the autograder by their names in it."""
    packed = {own: KIT / "gradescope" / own for own in OWN}
    found = [ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE"]
    found += (ROOT / "unlearnkit").rglob("*.py")
    found += [path for part in MARKING for path in COURSE.glob(part)]
    found += [COURSE / "checks" / f"{name}.py"]
    found += [COURSE / kind / name / f"{name}.ipynb" for kind in ("source", "release")]
    found += [ROOT / "unlearnkit" / "py.typed"]
    return packed | {path.relative_to(ROOT).as_posix(): path for path in found}


def pack(name: str, secret: str, out: Path) -> int:
    """Write the file; return the number of files in it."""
    known = sorted(path.stem for path in (COURSE / "checks").glob("[!_]*.py"))
    if name not in known:
        raise ValueError(f"no assignment is named {name!r}; choose from {', '.join(known)}")
    if len(secret) < 8:
        raise ValueError(f"the secret has {len(secret)} characters; it needs at least 8")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for inside, path in files(name).items():
            entry = zipfile.ZipInfo(inside, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if inside in OWN[:2] else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())
        packed.writestr("assignment", name)
        packed.writestr("secret", secret)
        return len(packed.namelist())


def main() -> None:
    """Read the command line and pack."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("assignment", help="its name, such as audit")
    parser.add_argument("out", type=Path, help="the zip file to write")
    parser.add_argument("--secret", type=Path, required=True, help="the file with your secret")
    chosen = parser.parse_args()
    try:
        count = pack(chosen.assignment, chosen.secret.read_text().strip(), chosen.out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{chosen.out}: {count} files")


if __name__ == "__main__":
    main()
