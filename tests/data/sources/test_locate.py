"""Data that are nowhere: one error that names all ways out."""

import pytest

import unlearnkit as uk

NETWORK = {"mnist": "OpenML", "cifar-10": "OpenML", "adult": "OpenML", "covertype": "fetch_covtype"}

ADDRESS = {
    "mnist": "yann.lecun.com",
    "cifar-10": "cs.toronto.edu",
    "adult": "archive.ics.uci.edu/dataset/2",
    "covertype": "archive.ics.uci.edu/dataset/31",
    "purchase-100": "comp.nus.edu.sg/~reza/files/datasets.html",
}

LAYOUT = {"mnist": "data/MNIST/raw", "cifar-10": "data/cifar-10-batches-py"}


@pytest.mark.parametrize("name", ADDRESS)
def test_offline_and_absent_gives_one_error_that_names_all_ways_out(no_files, name):
    with pytest.raises(FileNotFoundError, match=r"is not on this machine \(searched: data") as one:
        uk.load(name)
    message = str(one.value)
    for way in (f"load('{name}', path=FOLDER)", "UNLEARNKIT_DATA=FOLDER", "load('digits')"):
        assert way in message
    assert ADDRESS[name] in message and LAYOUT.get(name, "") in message
    if name in NETWORK:
        assert f"{NETWORK[name]} did not deliver it (URLError: <urlopen error no net" in message
        assert "a network connection" in message
    else:
        assert "nobody serves it for download" in message
    assert not (no_files / "cache").exists()
    with pytest.raises(FileNotFoundError, match=r"does not hold .*; expected the files"):
        uk.load(name, path=no_files)


def test_every_dataset_says_what_it_is():
    for load in uk.DATASETS.values():
        assert load.__doc__ and "Source: " in load.__doc__ and "Licence: " in load.__doc__
    for name in ("digits", "breast-cancer"):
        data = uk.load(name)
        assert data.source and data.licence in data._repr_html_()
