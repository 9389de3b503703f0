"""Single cases of a component notebook, performed on a class that an import path names: no deployment is needed."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from netra_probe import Investigation
from netra_probe.batch.selection import select
from netra_probe.checkers.verdict import CaseResult
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.replies import Timeouts
from netra_probe.history.store import Recorder
from netra_probe.target.deployment import Target


def of_classes(scenario: str, history: Path, *, components: dict[str, str]) -> Investigation:
    """An investigation of these classes alone; its history is to be closed."""
    target = Target(auth_url="http://nowhere.invalid", backend_urls=["http://nowhere.invalid"], components=components)
    return Investigation(
        scenario=scenario,
        environment="lab",
        target=target,
        history=Recorder(history),
        ledger=Ledger(),
        seed=7,
        timeouts=Timeouts(),
    )


async def perform_case(case: str, folder: Path, *, components: dict[str, str], **parameters: Any) -> CaseResult:
    """The very code of one case; what the notebook has opened is an investigation of these classes alone.

    Arguments:
        folder: an empty one, for the recording.
        components: as in a target's parameters.
        parameters: as for papermill.
    """
    scenario = case[:2]
    probe = of_classes(scenario, folder / f"{case}.jsonl", components=components)
    (notebook,) = select([scenario])
    names: dict[str, Any] = {"display": lambda *shown: [repr(one) for one in shown], "probe": probe}
    section = ""
    for cell in notebook.read().cells:
        if cell.cell_type != "code":
            heading = cell.source.partition("\n")[0]
            section = heading.split()[1] if heading.startswith("## ") else section
        elif section in ("", case):
            tree = ast.parse(cell.source)
            if not section:  # parameters, imports and names; not what asks the deployment or greets its users
                tree.body = [one for one in tree.body if not any(map(_needs_deployment, ast.walk(one)))]
            running = eval(compile(tree, case, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
            if inspect.iscoroutine(running):
                await running
            if "parameters" in cell.metadata.get("tags", []):
                names |= parameters
    probe.history.close()
    (result,) = probe._cases
    return result


def _needs_deployment(node: ast.AST) -> bool:
    return isinstance(node, ast.Await) or (isinstance(node, ast.Attribute) and node.attr == "users")
