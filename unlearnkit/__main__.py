"""``python -m unlearnkit audit STORE``: check a store's claims from its folder alone."""

import argparse
import sys

from unlearnkit.audit import audit
from unlearnkit.store import StoreError


def main(arguments: list[str] | None = None) -> int:
    """Print each claim that holds; 1 with the first that does not."""
    parser = argparse.ArgumentParser(prog="python -m unlearnkit", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("audit", help="derive every claim of a store again")
    one.add_argument("store", help="its folder; nothing in it is changed")
    one.add_argument("--head", help="of the ledger, as a certificate printed it")
    options = parser.parse_args(arguments)
    try:
        for claim in audit(options.store, options.head):
            print(f"holds: {claim}")
    except StoreError as error:
        print(f"BROKEN: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
