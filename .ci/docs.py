"""Write searchable API pages of every module into the folder given: ``docs.py build/docs``."""

import importlib
import pkgutil
import sys
from pathlib import Path

import pdoc

import unlearnkit


def main(folder: Path) -> None:
    """Name all modules to pdoc: by itself it follows only the names that a package exports."""
    # Some names of the package are imported on first use; pdoc sees only what is there already.
    for name in unlearnkit.__all__:
        setattr(unlearnkit, name, getattr(unlearnkit, name))
    found = pkgutil.walk_packages(unlearnkit.__path__, "unlearnkit.")
    names = ["unlearnkit", *(module.name for module in found)]
    names = [name for name in names if not name.rpartition(".")[2].startswith("_")]
    for name in names:
        importlib.import_module(name)
    pdoc.render.configure(docformat="google", math=False, show_source=False, footer_text="")
    pdoc.pdoc(*names, output_directory=folder)
    print(f"{len(names)} modules: open {folder / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
