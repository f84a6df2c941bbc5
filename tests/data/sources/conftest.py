"""A network in which a fetcher of scikit-learn answers."""

import urllib.request
from types import SimpleNamespace

import pytest


@pytest.fixture
def online(no_files, monkeypatch):
    """Lets a fetcher of scikit-learn be replaced: ``online(name, function)``."""

    def serve(fetcher, function):
        answer = SimpleNamespace(close=int)
        monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: answer)
        monkeypatch.setattr(f"sklearn.datasets.{fetcher}", function)

    return serve
