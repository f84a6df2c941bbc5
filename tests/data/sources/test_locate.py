"""Data that are nowhere: one error that names all ways out."""

import pytest

import unlearnkit as uk

FILES = {"mnist": "data/MNIST/raw", "cifar-10": "data/cifar-10-batches-py"}
ADDRESS = {"mnist": "yann.lecun.com", "cifar-10": "cs.toronto.edu"}


@pytest.mark.parametrize("name", FILES)
def test_offline_and_absent_gives_one_error_that_names_all_ways_out(no_files, name):
    with pytest.raises(FileNotFoundError, match=r"is not on this machine \(searched: data") as one:
        uk.load(name)
    message = str(one.value)
    for way in (f"load('{name}', path=FOLDER)", "UNLEARNKIT_DATA=FOLDER", "load('digits')"):
        assert way in message
    assert ADDRESS[name] in message and FILES[name] in message
    assert "OpenML did not deliver it (URLError: <urlopen error no net" in message
    assert "a network connection" in message
    assert not (no_files / "cache").exists()
    with pytest.raises(FileNotFoundError, match=r"does not hold .*; expected the files"):
        uk.load(name, path=no_files)


@pytest.mark.parametrize(("name", "network"), [("adult", "OpenML"), ("covertype", "fetch_covtype")])
def test_what_is_only_fetched_says_so(no_files, name, network):
    with pytest.raises(FileNotFoundError, match=r"URLError: <urlopen error no net") as one:
        uk.load(name)
    for way in (
        f"{network} did not deliver it",
        "SCIKIT_LEARN_DATA",
        "from_file",
        "load('digits')",
    ):
        assert way in str(one.value)
    with pytest.raises(ValueError, match=f"{name} is fetched by scikit-learn; leave path= out"):
        uk.load(name, path=no_files)


def test_every_dataset_says_what_it_is():
    for load in uk.DATASETS.values():
        assert load.__doc__ and "Source: " in load.__doc__ and "Licence: " in load.__doc__
    for name in ("digits", "breast-cancer"):
        data = uk.load(name)
        assert data.source and data.licence in data._repr_html_()
