"""``scenarios``, ``open`` and ``refresh``: the notebooks as files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from netra_probe.batch.notebooks import all_notebooks
from netra_probe.batch.selection import START, pages, select
from netra_probe.catalogue.folders import folder, own_folder, packaged
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.cli.group import faults_option, modules_option
from netra_probe.display.tables import Table
from netra_probe.errors import ParameterError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="machine-readable")
def scenarios(as_json: bool) -> None:
    """List the scenarios: title, cases and last verdict."""
    from netra_probe.results.compare import last_verdicts

    verdicts = last_verdicts(folder("outputs"))
    notebooks = {notebook.id: notebook for notebook in all_notebooks()}
    if as_json:
        records = [
            {
                "id": id,
                "title": SCENARIOS[id].title,
                "notebook": notebook.path.name,
                "requirements": [id, *SCENARIOS[id].cases],
                "last": verdicts.get(id, {}),
            }
            for id, notebook in notebooks.items()
        ]
        click.echo(json.dumps(records, indent=2))
        return
    rows = []
    for id in notebooks:
        seen = ", ".join(f"{environment}: {verdict}" for environment, verdict in sorted(verdicts.get(id, {}).items()))
        rows.append([id, SCENARIOS[id].title, ", ".join(SCENARIOS[id].cases), seen or "never run"])
    click.echo(Table(caption="Scenarios", headings=("id", "title", "cases", "last verdict"), rows=rows).text())


@click.command(name="open")
@click.option("--browser/--no-browser", default=True, help="open a browser window")
@click.option("--port", default=8888, show_default=True, help="port of JupyterLab; another one if it is taken")
@faults_option
@modules_option
def open_lab(browser: bool, port: int, faults: tuple[str, ...], modules: tuple[Path, ...]) -> int:
    """Open the start notebook in JupyterLab, with a lab.

    The notebooks are copies, in outputs/open-<time>/: the committed ones stay as they are. The lab ends when JupyterLab
    does.
    """
    from netra_probe import lab as labs
    from netra_probe.cli.plans import check_faults
    from netra_probe.errors import TargetError
    from netra_probe.target.lab import LAB_VARIABLE

    check_faults(faults, modules)
    source = own_folder("notebooks")
    root = folder("outputs") / f"open-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    root.mkdir(parents=True)
    for notebook in source.glob("*.ipynb"):
        shutil.copyfile(notebook, root / notebook.name)
    click.echo(f"copies of the notebooks: {root}")
    command = [sys.executable, "-m", "jupyterlab", f"--LabApp.default_url=/lab/tree/{START}"]
    command += [f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    try:
        with labs.start_lab(faults=faults, fault_modules=modules) as running:
            environment = {**os.environ, LAB_VARIABLE: str(running.state_file)}
            return subprocess.run(command, env=environment, check=False).returncode
    except labs.LabError as error:
        raise TargetError(str(error)) from None


@click.command()
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init(directory: Path) -> None:
    """Copy the notebooks and parameter files into a folder.

    DIR is the current folder when left out. Nothing is overwritten: exit status 2 if there is a workbook already.
    """
    made = []
    for name, kind in (("notebooks", "*.ipynb"), ("parameters", "*.yaml")):
        place = directory / name
        if place.exists():
            raise ParameterError(f"{place}: is there already; give another folder, or remove it.")
        made += [(path, place / path.name) for path in sorted(packaged(name).glob(kind))]
    try:
        for path, copy in made:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (directory / "outputs").mkdir(exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{directory}: cannot be written ({error.strerror}); give another folder.") from None
    click.echo(f"{directory}: {len(made)} files in notebooks/ and parameters/; runs go to outputs/")


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--check", is_flag=True, help="change nothing; exit status 1 where a notebook would change")
def refresh(ids: tuple[str, ...], check: bool) -> int:
    """Re-execute the committed notebooks on a lab and normalise them; `00` is the start, guides go by name.

    What does not pass on the healthy lab is no reference: the committed outputs stay, and the exit status is 3.

    With --check nothing is changed, and the exit status is 1 if a notebook's evidence differs from the committed one,
    or if its metadata, cell ids or execution counts are not normalised.
    """
    from netra_probe.batch.refresh import KEPT, refresh_notebooks

    own_folder("notebooks")
    paths = _chosen(ids)
    changed = refresh_notebooks(paths, write=not check)
    for path in paths:
        what = f"{'differs' if check else 'changed'}: {changed[path]}" if path in changed else "same"
        click.echo(f"{path.name}  {what}")
    if any(what.startswith(KEPT) for what in changed.values()):
        return 3
    return 1 if check and changed else 0


def _chosen(ids: tuple[str, ...]) -> list[Path]:
    """The committed notebooks of these ids, among which are the start notebook and guides; all of them without any."""
    if not ids:
        return sorted(folder("notebooks").glob("*.ipynb"))
    known = pages()
    others = [id for id in ids if id not in known]
    return [*(known[id] for id in ids if id in known), *(one.path for one in (select(others) if others else ()))]
