"""The listing explains the architecture, imports run downwards, and nothing imports in a circle."""

from __future__ import annotations

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
    assert len(modules) > 300
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
