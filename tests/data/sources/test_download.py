"""Downloads: what happens without a network that answers."""

import urllib.request
from threading import Event

import pytest

from unlearnkit.data.datasets import load
from unlearnkit.data.sources import download


def test_a_network_that_swallows_everything_does_not_hang(no_files, monkeypatch):
    never = Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: never.wait(30))
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.1)
    with pytest.raises(FileNotFoundError, match=r"TimeoutError: no answer within 0\.1 seconds"):
        load("fashion-mnist")
    never.set()
