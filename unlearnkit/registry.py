"""Registries: the methods, boundaries, metrics and so on that can be chosen by name."""

import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, overload

Entry = TypeVar("Entry")


def as_given(value: Any) -> Any:
    """Return the value unchanged."""
    return value


def instance_of(value: Any) -> Any:
    """Return the default instance of a class; return any other value unchanged.

    Raises:
        TypeError: the class cannot be called without arguments.
    """
    if not isinstance(value, type):
        return value
    try:
        return value()
    except TypeError as error:
        raise TypeError(
            f"{value.__name__} is a class that needs arguments ({error}); give an instance of it"
        ) from error


def summary(entry: Any) -> str:
    """Describe an entry in a line: the first sentence of its docstring, and its settings.

    An object that applies a rule is described by the docstring of the rule.

    >>> summary(str.upper)
    'Return a copy of the string converted to uppercase.'
    """
    told = next((getattr(entry, p) for p in ("rule", "advance") if hasattr(entry, p)), entry)
    named = inspect.isroutine(entry) or inspect.isclass(entry)
    kind = type(told)
    doc = told.__doc__ if named or kind.__module__ not in ("builtins", "functools") else None
    text = " ".join((inspect.cleandoc(doc or "")).partition("\n\n")[0].split())
    if text.startswith(f"{kind.__name__}("):  # which dataclasses write if nobody else does
        text = ""
    settings = "" if named else repr(entry)
    return " ".join(part for part in (text, f"``{settings}``" if settings else "") if part)


class Registry(MutableMapping[str, Entry]):
    """A dictionary of named entries that checks each entry when it is added.

    To add your own entry, assign it: ``uk.METRICS["mine"] = my_metric``. An entry that lacks a part
    of its protocol is refused at once. From then on, its name is accepted wherever the package
    accepts names, and the panels offer it.

    Args:
        name: where the registry is in the package, for error messages.
        noun: the kind of entry, such as ``"method"``, for error messages.
        about: a description of what belongs in the registry, which ``help()`` shows.
        entries: the entries that the package provides.
        parts: the methods that every entry must have.
        fields: the other attributes that every entry must have.
        adapt: converts an assigned value to an entry.

    >>> colours = Registry("COLOURS", "colour", "Colours by name.", {"red": str.upper})
    >>> colours.choose("red") is colours.choose(str.upper)
    True
    >>> colours["rad"]
    Traceback (most recent call last):
    ...
    KeyError: "no colour is named 'rad'; did you mean 'red'? Choose from red"
    >>> colours["blue"] = 3
    Traceback (most recent call last):
    ...
    TypeError: the colour 3 lacks __call__; help(uk.COLOURS) says what it needs
    """

    def __init__(
        self,
        name: str,
        noun: str,
        about: str,
        entries: Mapping[str, Entry],
        *,
        parts: tuple[str, ...] = ("__call__",),
        fields: tuple[str, ...] = (),
        adapt: Callable[[Any], Any] = as_given,
    ) -> None:
        self.name, self.noun, self.adapt = name, noun, adapt
        self.parts, self.fields = parts, fields
        self._about = inspect.cleandoc(about)
        self._entries: dict[str, Entry] = {}
        self.include(entries)

    def include(self, entries: Mapping[str, Entry]) -> None:
        """Add the package's own entries, when some of them need the registry to exist first."""
        for key, entry in entries.items():
            self._add(key, entry)
        self._built_in = dict(self._entries)
        self._explain()

    def __getitem__(self, name: str) -> Entry:
        """Return the entry with this name.

        Raises:
            KeyError: no entry has this name; the message lists the known names.
        """
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(str(name), self._entries, n=1)
        if close:
            end = f"did you mean {close[0]!r}? Choose from {', '.join(self._entries)}"
        else:
            end = f"choose from {', '.join(self._entries)}"
        raise KeyError(f"no {self.noun} is named {name!r}; {end}")

    def __setitem__(self, name: str, entry: Any) -> None:
        """Add an entry, or replace the entry with this name.

        Raises:
            TypeError: the name is not a string, or the entry lacks a part of its protocol.
        """
        self._add(name, entry)
        self._explain()

    def __delitem__(self, name: str) -> None:
        """Remove an entry.

        Raises:
            KeyError: no entry has this name.
        """
        self[name]  # refuses an unknown name
        del self._entries[name]
        self._explain()

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry {self.name}: {', '.join(self._entries)}"

    @property
    def own(self) -> dict[str, Entry]:
        """The entries that a user added or replaced."""
        usual = self._built_in
        return {n: e for n, e in self._entries.items() if n not in usual or usual[n] is not e}

    @overload
    def choose(self, choice: None) -> None: ...
    @overload
    def choose(self, choice: str | Entry) -> Entry: ...
    def choose(self, choice: str | Entry | None) -> Entry | None:
        """Resolve an argument: a name gives its entry, and an object or None stays as it is.

        Raises:
            KeyError: no entry has this name.
            TypeError: the object lacks a part of its protocol.
        """
        if choice is None:
            return None
        return self[choice] if isinstance(choice, str) else self._checked(choice)

    def require(self, choice: str | Entry) -> Entry:
        """Resolve an argument that has no default: a name or an object.

        Raises:
            KeyError: no entry has this name.
            TypeError: the argument is None, or lacks a part of its protocol.
        """
        if choice is None:
            raise TypeError(
                f"the {self.noun} is None, but one is needed; give an object or one of the names "
                f"{', '.join(self._entries)}"
            )
        return self.choose(choice)

    def name_of(self, entry: Entry) -> str | None:
        """The name of this entry, or of an equal one; None if it is not in the registry."""
        return next((n for n, e in self._entries.items() if e is entry or e == entry), None)

    def _add(self, name: str, entry: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{name!r} cannot be the name of a {self.noun}; give a string")
        self._entries[name] = self._checked(entry)

    def _explain(self) -> None:
        """Renew the docstring, which ``help()`` shows, with a line for each present entry."""
        lines = [
            textwrap.fill(
                f"* ``{name}``: {summary(entry)}",
                90,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for name, entry in self._entries.items()
        ]
        self.__doc__ = "\n".join((self._about, "", "It holds these entries:", "", *lines))

    def _checked(self, value: Any) -> Entry:
        entry: Entry = self.adapt(value)
        needed = (*self.fields, *self.parts)
        missing = [part for part in needed if getattr(entry, part, None) is None]
        if missing:
            raise TypeError(
                f"the {self.noun} {value!r} lacks {' and '.join(missing)}; "
                f"help(uk.{self.name}) says what it needs"
            )
        for part in self.parts:
            if not callable(found := getattr(entry, part)):
                raise TypeError(
                    f"the {part} of the {self.noun} {value!r} is {found!r}, which cannot be "
                    f"called; help(uk.{self.name}) says what it needs"
                )
        return entry
