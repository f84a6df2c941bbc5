"""What a user meets before the first import: the command line, the wheel, the installer."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import unlearnkit
from unlearnkit.__main__ import main
from unlearnkit.metrics.metrics import output_kl

ROOT = Path(__file__).resolve().parent.parent


def test_the_command_says_its_version_and_what_it_is_for(capsys):
    for option, text in (("--version", unlearnkit.__version__), ("--help", "audit")):
        with pytest.raises(SystemExit) as stopped:
            main([option])
        assert stopped.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.slow
def test_the_wheel_has_types_and_nothing_but_the_package(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("hatchling cannot be fetched here")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "unlearnkit/py.typed" in names and "unlearnkit/widgets/parts/panel.py" in names
    assert "unlearnkit/widgets/instrument/instrument.js" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"unlearnkit"}


@pytest.mark.slow
def test_the_code_of_the_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec("\n".join(blocks), names)
    inputs = names["session"].dataset.test.inputs()
    expected = names["session"].ensemble.probabilities(inputs)
    assert torch.equal(names["ensemble"].probabilities(inputs), expected)
    assert torch.equal(names["module"](inputs), expected)
    assert "How to check it" in (tmp_path / "models" / "README.md").read_text()


def test_the_installer_shows_that_it_moves_and_what_failed(capsys):
    spec = importlib.util.spec_from_file_location("install", ROOT / ".ci" / "install.py")
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    code = "import time; print('Collecting numpy>=2'); time.sleep(0.5); print('ERROR: no'); 1 / 0"
    worked, said = install.follow([sys.executable, "-u", "-c", code], every=0.05)
    assert not worked and said[:2] == ["Collecting numpy>=2", "ERROR: no"]
    assert "numpy>=2 (1 packages so far)" in capsys.readouterr().out
    assert install.doing([*said, "Installing collected packages: numpy"]) == "installing 1 packages"


@pytest.mark.skipif(
    os.environ.get("UNLEARNKIT_TYPECHECK") == "0", reason="the tests are to run unchecked"
)
def test_a_wrong_shape_in_a_call_fails_a_test():
    with pytest.raises(TypeCheckError, match="output_kl"):
        output_kl(torch.full((3, 2), 0.5), torch.full((4, 2), 0.5))
