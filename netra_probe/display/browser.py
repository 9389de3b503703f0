"""Leafing through a history: by user, action and text."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.history.lines import excerpt, said
from netra_probe.history.operation import PROBE, Operation

#: Operations shown at a time.
PAGE = 50
EVERYBODY = "everybody"


class HistoryBrowser(View):
    """A history as a table that one can filter; ``select`` is what the controls call, and a notebook may, too."""

    def __init__(self, history: Iterable[Operation]) -> None:
        self._operations = [operation for operation in history if operation.surface != PROBE]
        self.users = sorted({operation.user for operation in self._operations if operation.user})

    def select(self, *, user: str = EVERYBODY, text: str = "", page: int = 1) -> Table:
        """One page of the operations of a user whose action or payload contains the text."""
        chosen = [
            operation
            for operation in self._operations
            if user in (EVERYBODY, operation.user)
            and (not text or text.lower() in f"{operation.action} {operation.payload}".lower())
        ]
        pages = max(1, -(-len(chosen) // PAGE))
        page = min(max(1, page), pages)
        rows = [
            (
                str(operation.index),
                operation.connection or operation.user or "–",
                operation.type,
                operation.action,
                "" if operation.status is None else str(operation.status),
                excerpt(" ".join(operation.payload.split()) or said(operation)),
            )
            for operation in chosen[(page - 1) * PAGE : page * PAGE]
        ]
        return Table(
            caption=f"{len(chosen)} operation(s), page {page} of {pages}",
            headings=("#", "connection", "type", "action", "status", "payload"),
            rows=rows,
            numeric=frozenset({0, 4}),
        )

    def text(self) -> str:
        return self.select().text()

    def html(self) -> str:
        return self.select().html()

    def controls(self) -> Any:
        """The interactive form: a choice of user, a search field, a page number, and the table below."""
        import ipywidgets as widgets

        user = widgets.Dropdown(options=[EVERYBODY, *self.users], description="user")
        text = widgets.Text(placeholder="search", continuous_update=False, description="text")
        page = widgets.BoundedIntText(value=1, min=1, max=max(1, -(-len(self._operations) // PAGE)), description="page")
        shown = widgets.HTML(self.html())

        def render(_: Any) -> None:
            try:
                shown.value = self.select(user=user.value, text=text.value, page=page.value).html()
            except Exception as error:
                shown.value = f"<p>{html.escape(type(error).__name__)}: this view could not be drawn</p>"

        for control in (user, text, page):
            control.observe(render, names="value")
        return widgets.VBox([widgets.HBox([user, text, page]), shown])


def browse(history: Iterable[Operation]) -> Any:
    """Controls over a finished history: ``browse(History.open(path))``.

    Show ``HistoryBrowser(history)`` first where the static page is wanted in a stored notebook.
    """
    return HistoryBrowser(history).controls()
