"""What a notebook gives to the student, for the references of the checks."""

from types import SimpleNamespace

from .submission import assignment


def given(name: str, *cells: str) -> SimpleNamespace:
    """Run locked cells of an assignment here, and return the names that they define."""
    scope = {"__name__": "given"}
    for cell in cells:
        exec(compile(assignment(name).given[cell], cell, "exec"), scope)
    return SimpleNamespace(**{key: value for key, value in scope.items() if key[:2] != "__"})
