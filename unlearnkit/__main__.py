"""The command line: ``python -m unlearnkit audit STORE``, ``--version`` and ``--help``."""

import argparse
import importlib
import sys
from importlib.metadata import version
from typing import Any

from unlearnkit.data.datasets import DATASETS, load
from unlearnkit.records.audit import audit
from unlearnkit.store import NoStoreError, StoreError

DESCRIPTION = """\
unlearnkit: machine unlearning on torch, inside Jupyter.

Train, revoke and compare from Python; help(unlearnkit) says where to begin:

  import unlearnkit as uk
  session = uk.Session("digits", model="mlp", store="runs/mine")

This command checks the store of such a session (here runs/mine)."""


LEVELS = """\
what is shown:
  the folder alone    Nothing in it was damaged or lost by accident, and its claims agree with each
                      other. Whoever can write to it can rewrite all of it.
  --head, kept        The ledger's lines up to the head, the checkpoints that they record, the
  elsewhere           requests that waited and the data set's fingerprint are those of the time when
                      the head was noted. Later lines are fixed by no head that was given.
  --replay            Approximate constituents have the bits that the recorded methods give when
                      they remove the recorded examples from models trained with them.
  --retrain           Exact checkpoints have the bits of training without the revoked examples.

what is never shown:
  that there is no other copy, in a backup, on another machine or in memory; that the data given are
  those of the people concerned; that the recorded seconds and checks of approximations were
  measured; that the outputs of an approximate constituent are those of a retrained one."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 if all claims hold, 1 if one does not, 2 if one cannot be checked.
    """
    parser = argparse.ArgumentParser(
        prog="python -m unlearnkit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
    )
    parser.add_argument(
        "--version", action="version", version=f"unlearnkit {version('unlearnkit')}"
    )
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    one = commands.add_parser(
        "audit",
        help="check what a store on disk claims about the examples it forgot",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print each claim of a store that holds. The exit status is 1 at the first\n"
        "claim that does not hold and 2 if a claim cannot be checked.",
        epilog=LEVELS,
    )
    one.add_argument("store", help="the folder of the store; nothing in it is changed")
    one.add_argument("--head", help="the head of the ledger that a certificate states")
    one.add_argument(
        "--retrain",
        action="store_true",
        help="also retrain from scratch and compare every clean checkpoint bit for bit",
    )
    one.add_argument(
        "--replay",
        action="store_true",
        help="also modify the original models again, as the ledger records it, and compare every "
        "approximation bit for bit",
    )
    one.add_argument(
        "--data",
        help=f"the data of the run, for --retrain and --replay: {', '.join(DATASETS)}, or "
        "module:name of your own data, in a form that a session takes, or of a function that "
        "returns them",
    )
    one.add_argument(
        "--num-examples", type=int, help="how many training examples the run took from --data"
    )
    one.add_argument("--model", help="module:name of a model that is not built in")
    options = parser.parse_args(arguments)
    asked = [name for name in ("--retrain", "--replay") if getattr(options, name[2:])]
    if asked and options.data is None:
        one.error(f"{asked[0]} needs the data; give --data digits or --data module:name")
    if not asked and (options.data or options.model or options.num_examples):
        one.error(
            "--data, --num-examples and --model need --retrain or --replay; add one of these or "
            "leave them out"
        )
    try:
        data = _data(options.data, options.num_examples) if asked else None
        model = None if options.model is None else _named(options.model)
        claims = audit(
            options.store,
            options.head,
            dataset=data,
            model=model,
            replay=options.replay,
            retrain=options.retrain,
        )
        for claim in claims:
            print(f"holds: {claim}", flush=True)
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, StoreError) and not isinstance(error, NoStoreError):
            print(f"BROKEN: {error}", file=sys.stderr)
            return 1
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"CANNOT BE CHECKED: {message}", file=sys.stderr)
        return 2
    return 0


def _data(name: str, num_examples: int | None) -> Any:
    if ":" not in name:
        return load(name, num_examples=num_examples)
    if num_examples is not None:
        raise ValueError(
            "--num-examples applies to named datasets only; leave it out, and let your module "
            "return as many examples as you want"
        )
    found = _named(name)
    return found() if callable(found) else found


def _named(name: str) -> Any:
    """Import the object that ``module:name`` names; return a plain name unchanged.

    Raises:
        ValueError: there is no such module or object.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        return name
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{name} was not found ({error}); give module:name of an object that Python can import "
            "from here"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
