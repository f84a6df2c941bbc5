"""Buttons that stay alive when the page is reloaded.

JupyterLab sends the messages of widgets to a subshell of the kernel, a separate thread, which it
makes with the page and removes with it. ipykernel 7.4 remembers, for each widget, the subshell in
which it last sent something, and hands later messages to it (``BaseComm._reply_subshell_for``).
After a reload that subshell is gone, so the kernel answers "Unknown subshell_id" and the widget
seems dead (https://github.com/ipython/ipykernel/issues/1557).
"""

from collections.abc import Callable
from typing import Any

from IPython import get_ipython


def survive_reloads() -> None:
    """Make the kernel handle a widget's message although the subshell meant for it is gone.

    It goes to the subshell that the page asked for, or else to the main shell. Outside a kernel
    that has subshells this does nothing; a second call does nothing either.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        return
    from ipykernel.comm import comm

    remembered = getattr(comm.BaseComm, "_reply_subshell_for", None)
    if remembered is None or hasattr(remembered, "_survives_reloads"):
        return
    route = surviving(remembered, lambda name: _exists(thread.manager, name))
    setattr(comm.BaseComm, "_reply_subshell_for", route)  # noqa: B010 (a method of another class)


def surviving(
    remembered: Callable[[Any, Any, str | None], str | None], exists: Callable[[str], bool]
) -> Callable[[Any, Any, str | None], str | None]:
    """Return a route of messages to subshells that leads only to those that exist.

    Args:
        remembered: the kernel's own route: of a comm, the data of a message and the subshell that
            the message names, to a subshell, or to None, the main shell.
        exists: whether there is a subshell of this name.
    """

    def route(comm: Any, data: Any, named: str | None) -> str | None:
        for subshell in (remembered(comm, data, named), named):
            if subshell is None or exists(subshell):
                return subshell
        return None

    route._survives_reloads = True  # type: ignore[attr-defined]
    return route


def _exists(manager: Any, subshell: str) -> bool:
    try:
        manager.get_shell_channel_to_subshell_pair(subshell)
    except Exception:  # ipykernel has named this error differently from version to version
        return False
    return True
