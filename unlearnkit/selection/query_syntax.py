"""Slips in the text of a query, each named in a sentence before pandas reads the query."""

import re
from collections.abc import Collection

# What other languages write, and what a query writes for it.
_FOREIGN = {
    "&&": "and",
    "||": "or",
    "===": "==",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "IN": "in",
}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_NEEDS_MORE = r"(\b(?:and|or|not|in|is)\b|==|!=|<=|>=|[<>=&|~+\-*/%,])"
_NEEDS_LESS = r"(\b(?:and|or|in|is)\b|==|!=|<=|>=|[<>=&|*/%,])"


def slip_in(query: str, columns: Collection[str] = ()) -> str:
    """Return what is wrong with the text of a query, as the end of a sentence; empty if nothing is.

    Only slips that the text alone shows are found; pandas finds the others.

    Args:
        query: the text.
        columns: names of columns, which may be words of other languages.

    >>> slip_in("label == 3 and")
    "ends with 'and', after which a condition or a value is missing"
    >>> slip_in("(label == 3")
    "opens a bracket '(' that it does not close"
    >>> slip_in("label = 3")
    "has a single '=' where '==' compares"
    >>> slip_in("label == 3 and shard in [0, 2]")
    ''
    """
    closed = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", query)
    bare = re.sub(r"`[^`]*`", "x", closed).strip()
    for mark in ("'", '"'):
        if bare.replace("''", "").count(mark):
            return f"has a quotation mark {mark} without its partner"
    if "`" in bare:
        return "has a backtick ` without its partner"
    if wrong := _bracket(bare):
        return wrong
    for there, here in _FOREIGN.items():
        pattern = rf"\b{there}\b" if there.isalpha() else re.escape(there)
        if there not in columns and re.search(pattern, bare):
            return f"has {there!r}, for which a query writes {here!r}"
    if re.search(r"(?<![=!<>])=(?!=)", bare):
        return "has a single '=' where '==' compares"
    if end := re.search(rf"{_NEEDS_MORE}\s*$", bare):
        return f"ends with {end[1]!r}, after which a condition or a value is missing"
    if begin := re.match(rf"\s*{_NEEDS_LESS}", bare):
        return f"begins with {begin[1]!r}, before which a condition or a column is missing"
    return ""


def _bracket(text: str) -> str:
    waiting: list[str] = []
    for letter in text:
        if letter in _BRACKETS:
            waiting.append(letter)
        elif letter in _BRACKETS.values():
            if not waiting or _BRACKETS[waiting.pop()] != letter:
                return f"closes a bracket {letter!r} that it does not open"
    return f"opens a bracket {waiting[-1]!r} that it does not close" if waiting else ""
