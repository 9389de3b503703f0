"""Installed as a wheel, in a folder with nothing in it: each command works, or says in one sentence what is missing."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from netra_probe.catalogue.folders import PROJECT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and everything else from the one of the tests."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True, timeout=120)
    packages = next((place / "venv" / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # A path in a .pth file is no site directory: the editable installation there does not take part.
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "venv" / "bin" / "python"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def netra_probe(python: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NETRA_PROBE_OUTPUTS")
    }
    return subprocess.run(
        [python, "-m", "netra_probe.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def test_it_is_the_wheel_that_is_tested(installed: Path, empty: Path) -> None:
    where = [installed, "-c", "import netra_probe; print(netra_probe.__file__)"]
    shown = subprocess.run(where, cwd=empty, capture_output=True, text=True, check=True, timeout=60).stdout
    assert Path(shown).is_relative_to(installed.parent.parent)


@pytest.mark.nightly
def test_a_run_from_an_empty_folder_takes_the_notebooks_of_the_wheel(installed: Path, empty: Path) -> None:
    listed = json.loads(netra_probe(installed, empty, "scenarios", "--json").stdout)
    assert "C4" in {one["id"] for one in listed}
    ended = netra_probe(installed, empty, "run", "C4", "-p", "rounds", "1", "-p", "users", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = (empty / "outputs" / "lab").glob("*Z-*")
    for arguments in (["recheck", str(run)], ["report", str(run)], ["compare", str(run), str(run)], ["scan"]):
        after = netra_probe(installed, empty, *arguments)
        assert after.returncode == 0, (arguments, after.stdout, after.stderr)
        assert after.stderr == ""
    assert netra_probe(installed, empty, "doctor", "--env", "stagin").returncode == 2


@pytest.mark.parametrize("command", [["open", "--no-browser"], ["refresh"]])
def test_what_changes_notebooks_asks_for_a_workbook(installed: Path, empty: Path, command: list[str]) -> None:
    ended = netra_probe(installed, empty, *command)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr == f"netra-probe: {empty}: no workbook here; `netra-probe init` lays one out.\n"


def test_init_lays_out_a_workbook_and_writes_over_none(installed: Path, empty: Path) -> None:
    ended = netra_probe(installed, empty, "init", "mine")
    assert ended.returncode == 0, ended.stderr
    mine = empty / "mine"
    for name, kind in (("notebooks", "*.ipynb"), ("parameters", "*.yaml")):
        assert {path.name: path.read_bytes() for path in (mine / name).iterdir()} == {
            path.name: path.read_bytes() for path in (PROJECT / name).glob(kind)
        }
    (mine / "parameters" / "lab.yaml").write_text("environment: lab\nmistake: 1\n")
    assert 'unknown key "mistake"' in netra_probe(installed, mine, "run", "C4").stderr
    again = netra_probe(installed, empty, "init", "mine")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert "mistake" in (mine / "parameters" / "lab.yaml").read_text()
