"""Texts by which a file of measurements recognises methods, amends, boundaries and metrics."""

import re
from types import CodeType, FunctionType

from unlearnkit.seeding import digest

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+\b")


def described(noun: str, entry: object) -> str:
    """Return a text that is the same in every process, and changes when the entry does.

    It is the entry's repr, or for a function its name and a digest of its code and defaults.

    Args:
        noun: the kind of entry, such as ``"method"``, for the error message.
        entry: the object to recognise.

    Raises:
        ValueError: the text would contain a memory address, which is different in every process.
    """
    text = repr(entry)
    if isinstance(entry, FunctionType):
        inner = [cell.cell_contents for cell in entry.__closure__ or ()]
        values = repr((entry.__defaults__, entry.__kwdefaults__, inner))
        text = f"{entry.__qualname__} {digest(_code(entry.__code__), values)}"
        if not ADDRESS.search(values):
            return text
    elif not ADDRESS.search(text):
        return text
    raise ValueError(
        f"the {noun} {entry!r} cannot be recognised in the file of path=, because only its memory "
        "address identifies it; make it a frozen dataclass, give it a __repr__, or leave out path="
    )


def _code(code: CodeType) -> str:
    """Return what a function does, as a text without line numbers or addresses."""
    constants = [
        _code(value)
        if isinstance(value, CodeType)
        else repr(sorted(map(repr, value)))  # sets have no order
        if isinstance(value, frozenset)
        else repr(value)
        for value in code.co_consts
    ]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
