"""The command as a process: interrupts, broken outputs, hostile text, our own defects, a read-only home."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from waiting import wait_until

from netra_probe.cli.group import COMMANDS, app

PASSWORD = "p@ss:w/ord%25x#y-and-more"
URL = f"redis://user:{PASSWORD}@cache:6379/0"
PARTS = (PASSWORD, "ss:w/ord", "25x#y-and", "and-more")


def command(*arguments: str, before: str = "", cwd: Path | None = None, **variables: str) -> tuple[int, str, str]:
    """Exit status, output and complaints of ``netra-probe``; ``before`` is executed in its process first."""
    ended = subprocess.run(
        [sys.executable, "-c", f"from netra_probe.cli.main import main\n{before}\nmain()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
    )
    return ended.returncode, ended.stdout, ended.stderr


#: A command that meets a defect, and a library that quotes what it was given.
BROKEN = """
import os
from netra_probe.cli.group import app

@app.command(name="break")
def broken():
    def deeper(n):
        return deeper(n + 1)
    if "SAID" not in os.environ:
        deeper(0)
    raise RuntimeError(os.environ["SAID"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A workbook whose parameters refer to a URL with a password."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters" / "p.yaml").write_text(
        "environment: p\ntarget: {auth_url: http://a, backend_urls: [http://a], redis_url: env:PROBE_TEST_URL}\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "said",
    [{}, {"SAID": f"cannot reach {URL}"}, {"SAID": "Port could not be cast to integer value as 'w/ord%25x#y-and'"}],
)
def test_a_defect_of_ours_is_one_sentence_a_file_with_the_traceback_and_status_70(
    project: Path, said: dict[str, str]
) -> None:
    state = project / "state"
    given = {"PROBE_TEST_URL": URL, "NETRA_PROBE_STATE": str(state), **said}
    status, output, complaint = command("break", before=BROKEN, cwd=project, **given)
    assert status == 70, complaint
    (told,) = complaint.splitlines()
    assert told.startswith("netra-probe: a defect of netra-probe (")
    (log,) = (state / "crashes").iterdir()
    assert str(log) in told
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert log.stat().st_mode & 0o077 == 0
    assert [part for part in PARTS if part in text + output + complaint] == []


def test_a_defect_whose_traceback_cannot_be_written_is_still_one_sentence(project: Path) -> None:
    (project / "state").mkdir()
    (project / "state" / "crashes").write_text("in the way")
    status, _, complaint = command("break", before=BROKEN, cwd=project, NETRA_PROBE_STATE=str(project / "state"))
    assert (status, len(complaint.splitlines())) == (70, 1)
    assert "could not be written" in complaint


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_an_encoding_that_lacks_characters_changes_no_status(variables: dict[str, str], tmp_path: Path) -> None:
    status, output, complaint = command("scenarios", NETRA_PROBE_OUTPUTS=str(tmp_path), **variables)
    assert (status, complaint) == (0, "")
    assert "C4" in output
    if "PYTHONIOENCODING" in variables:
        assert output.isascii()


@pytest.mark.parametrize(("to", "told"), [("/dev/full", "standard output cannot be written (No space left"), ("", "")])
def test_an_output_that_nobody_takes_changes_no_status(to: str, told: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "netra_probe.cli.main", "scenarios"]
    environment = {**os.environ, "NETRA_PROBE_OUTPUTS": str(tmp_path)}
    if to:
        writing = os.open(to, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)  # head has read its line and gone
    with subprocess.Popen(arguments, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment) as process:
        os.close(writing)
        _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert (told in complaint) if told else not complaint
    assert "Traceback" not in complaint


def test_text_from_outside_does_not_steer_the_terminal() -> None:
    hostile = "no\x1b]0;owned\x07where\x9b31m\u202egnp"
    status, output, complaint = command("scan", hostile)
    assert status == 2
    assert r"no\x1b]0;owned\x07where\x9b31m\u202egnp" in complaint
    assert not set("\x1b\x07\x9b\u202e") & set(output + complaint)


#: A module that is never done being imported, as a slow disk makes it; the file says that its import has begun.
ENDLESS = """
import sys, time, pathlib

class Endless:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            pathlib.Path({begun!r}).touch()
            time.sleep(600)

sys.meta_path.insert(0, Endless())
"""


@pytest.mark.parametrize("module", ["click", "netra_probe.cli.group", "netra_probe.cli.notebooks"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_the_program_loads_is_quiet(number: int, module: str, tmp_path: Path) -> None:
    """Nothing was started yet: wherever the loading has come to, neither a traceback nor a word about records."""
    begun = tmp_path / "begun"
    before = ENDLESS.format(module=module, begun=str(begun))
    program = f"from netra_probe.cli.main import main\n{before}\nmain()"
    arguments = [sys.executable, "-c", program, "scenarios"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(begun.exists, what=f"{module} is being imported")
            process.send_signal(number)
            output, complaint = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output, complaint) == (3, "", "")


def test_interrupts_are_handled_before_anything_else_is_imported() -> None:
    """Python itself ends with a traceback until then."""
    program = "import sys, netra_probe.cli.main; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = shown.stdout.split()
    ours = {
        "netra_probe",
        "netra_probe.batch",
        "netra_probe.batch.interrupts",
        "netra_probe.cli",
        "netra_probe.cli.main",
    }
    assert {name for name in loaded if name.partition(".")[0] == "netra_probe"} == ours
    assert {"click", "asyncio", "pydantic"} & set(loaded) == set()


def test_a_home_that_cannot_be_written_is_said_and_lived_with(tmp_path: Path) -> None:
    given = {"HOME": "/proc/nowhere", "TMPDIR": str(tmp_path), "NETRA_PROBE_OUTPUTS": str(tmp_path / "outputs")}
    kept = {name: "" for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "NETRA_PROBE_STATE")}
    show = """
import os
from netra_probe.cli.group import app

@app.command(name="show")
def show():
    import matplotlib, IPython.paths, jupyter_core.paths
    from netra_probe.clients.account_ledger import Ledger
    print(Ledger().folder, matplotlib.get_configdir(), IPython.paths.get_ipython_dir(), sep="\\n")
    print(jupyter_core.paths.jupyter_runtime_dir())
"""
    environment = {name: value for name, value in os.environ.items() if name not in kept}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from netra_probe.cli.main import main\n{show}\nmain()", "show"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, **given},
    )
    assert ended.returncode == 0, ended.stderr
    place = tmp_path / f"netra-probe-home-{os.geteuid()}"
    assert (
        ended.stderr == f"netra-probe: the home directory /proc/nowhere cannot be written; state is kept in {place}.\n"
    )
    assert all(Path(shown).is_relative_to(place) for shown in ended.stdout.split()), ended.stdout
    assert place.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_it_says_of_itself(name: str) -> None:
    found = app.get_command(click.Context(app), name)
    assert found is not None and found.name == name
    assert " ".join((found.help or "").split()).startswith(COMMANDS[name][1].rstrip("."))


def test_help_imports_next_to_nothing() -> None:
    before = "import atexit\natexit.register(lambda: print(sorted(sys.modules)))\nimport sys"
    status, said, _ = command("--help", before=before)
    assert status == 0 and "scenarios" in said
    heavy = ("httpx", "networkx", "pandas", "papermill", "pydantic", "rich", "yaml")
    assert [name for name in heavy if f"'{name}'" in said] == []
