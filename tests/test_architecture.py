"""The listing explains the architecture, imports run downwards, and nothing imports in a circle."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import grimp
import networkx
import pytest

import netra_probe

PACKAGE = Path(netra_probe.__file__).parent
#: What may stand at the top of the package beside its folders.
LOOSE = {"__init__.py", "errors.py", "testing.py", "py.typed"}


@pytest.fixture(scope="module")
def imports() -> networkx.DiGraph:
    """Which module imports which, imports for typing included."""
    graph = grimp.build_graph("netra_probe", cache_dir=None)
    return networkx.DiGraph(
        (name, used) for name in graph.modules for used in graph.find_modules_directly_imported_by(name)
    )


def test_nothing_stands_loose_at_the_top_of_the_package() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == LOOSE


def test_no_modules_import_each_other_in_a_circle(imports: networkx.DiGraph) -> None:
    modules = imports.subgraph(name for name in imports if not (PACKAGE / Path(*name.split(".")[1:])).is_dir())
    assert len(modules) > 100
    assert [sorted(part) for part in networkx.strongly_connected_components(modules) if len(part) > 1] == []


def test_imports_keep_to_the_floors() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_a_public_name_is_found_where_the_package_says(imports: networkx.DiGraph) -> None:
    assert sorted(netra_probe.__all__) == list(netra_probe.__all__)
    for name in netra_probe.__all__:
        assert getattr(netra_probe, name).__module__.startswith("netra_probe."), name


def test_what_judges_can_be_imported_where_only_posix_modules_are_missing() -> None:
    """On Windows there are none of these: recordings are judged there, and commands say what needs Linux or macOS."""
    code = """
import sys, psutil, asyncpg, matplotlib.pyplot  # libraries have their own ways around these modules
POSIX = {"fcntl", "grp", "pwd", "resource", "termios"}
for name in POSIX: sys.modules.pop(name, None)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in POSIX: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import netra_probe, netra_probe.checkers, netra_probe.history, netra_probe.cli.main, netra_probe.cli.group
import netra_probe.workloads, netra_probe.results.results, netra_probe.cli.recheck, netra_probe.cli.report
[getattr(netra_probe, name) for name in netra_probe.__all__]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


#: What nobody in the package imports or one does, and still stands alone: commands, programs, what notebooks import,
#: and faults, which are added by the file.
WORKLOADS = "netra_probe.workloads"
FACES = (
    "__init__",
    "__main__",
    "netra_probe.cli.",
    "netra_probe.display.coverage",
    "netra_probe.lab.conditions",
    "netra_probe.lab.component_faults.",
    "netra_probe.lab.faults.",
    "netra_probe.workloads.components.",
)


def test_modules_are_of_a_size_that_is_worth_a_name(imports: networkx.DiGraph) -> None:
    """No module of fewer than 60 lines serves one other module only; half of them have 150 lines or more."""
    lines = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path.read_text().count("\n")
        for path in PACKAGE.rglob("*.py")
    }
    lonely = [
        name
        for name, size in lines.items()
        # What the package of workloads takes from a module is called by notebooks.
        if size < 60 and len(imports.pred.get(name, ())) < 2 and WORKLOADS not in imports.pred.get(name, ())
    ]
    assert [name for name in lonely if not any(face in name for face in FACES)] == []
    assert statistics.median(lines.values()) >= 150
