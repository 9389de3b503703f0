"""Interactive views over a finished history.

Callbacks of widgets run in another thread and event loop than the cells, so nothing here ever drives a client: each
view re-renders a history that no longer changes. The full static rendering always comes first; without a widget
manager (on GitHub, in exported HTML) it is all there is, and it is enough.
"""

from __future__ import annotations

from netra_probe.widgets.browser import browse

__all__ = ["browse"]
