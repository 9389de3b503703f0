"""``lab down`` ends what it names, and another process's lab only if somebody confirms it."""

import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from deployments import called, netra_probe

from netra_probe.lab import Lab, running_labs, start_lab
from netra_probe.target.environment import in_environment

#: What a lab can do without for these tests: nearly all.
LITTLE = ("postgres", "redis", "auth", "backend-1", "backend-2", "oidc")


@pytest.fixture(scope="module", autouse=True)
def apart() -> Iterator[None]:
    """No lab is known here but those of this module."""
    with tempfile.TemporaryDirectory(prefix="npt-") as folder:
        os.chmod(folder, 0o711)
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            with in_environment({"TMPDIR": folder}):
                yield
        finally:
            tempfile.tempdir = before


@pytest.fixture(scope="module")
def own(apart: None) -> Iterator[Lab]:
    """A lab that this process has started for itself, as a notebook does."""
    with start_lab(without=LITTLE) as lab:
        yield lab


def up() -> str:
    """A lab of little that stays up, as ``lab up`` leaves one; started by a process that does not."""
    program = f"from netra_probe.lab import start_lab; print(start_lab(detached=True, without={LITTLE!r}).id)"
    started = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=150)
    return started.stdout.strip()


def alive() -> set[str]:
    return {lab.id for lab in running_labs()}


def answer(text: str, *arguments: str) -> tuple[int, str]:
    """Exit status and everything said when somebody at a terminal answers the question."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "netra_probe.cli.main", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.close(theirs)
        os.write(ours, text.encode())
        said, _ = process.communicate(timeout=120)
    os.close(ours)
    return process.returncode, said.decode()


@pytest.mark.nightly
def test_another_processs_lab_is_not_ended_without_a_word(own: Lab) -> None:
    ended = netra_probe("lab", "down", own.id)
    assert ended.returncode == 2
    assert f"lab {own.id} belongs to process {os.getpid()} (" in ended.stderr
    assert "give --yes to end it. Nothing was stopped." in ended.stderr
    status, said = answer("n\n", "lab", "down", own.id)
    assert (status, "not confirmed" in said) == (2, True), said
    assert netra_probe("lab", "down", "--all").returncode == 2
    assert own.id in alive()


def test_lab_down_ends_the_one_that_is_up_and_no_other(own: Lab) -> None:
    first = up()
    try:
        second = up()
        try:
            ended = called("lab", "down")
            assert ended.returncode == 2
            assert "2 labs are up; name one of " in ended.stderr
            wrong = called("lab", "down", "00000000")
            assert (wrong.returncode, 'no lab "00000000" is running' in wrong.stderr) == (2, True)
        finally:
            named = called("lab", "down", second)
        assert (named.returncode, named.stdout) == (0, f"lab {second} is down\n")
        assert first in alive()
    finally:
        last = called("lab", "down")
    assert (last.returncode, last.stdout) == (0, f"lab {first} is down\n")
    nothing = called("lab", "down")
    assert (nothing.returncode, nothing.stdout.startswith("no lab is up; labs of other processes: ")) == (0, True)
    assert own.id in alive()


def test_another_processs_lab_is_ended_once_somebody_confirms_it() -> None:
    with start_lab(without=LITTLE) as lab:
        status, said = answer("y\n", "lab", "down", lab.id)
        assert status == 0, said
        assert f"lab {lab.id} is down" in said
        assert lab.id not in alive()
