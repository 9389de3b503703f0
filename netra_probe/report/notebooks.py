"""Executed notebooks as pages: what a notebook shows, for those without JupyterLab, and nothing in it runs."""

from __future__ import annotations

import logging
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import nh3
from markupsafe import Markup

from netra_probe.batch.notebooks import read_notebook
from netra_probe.report.pages import render, write_page

if TYPE_CHECKING:
    from nbconvert import HTMLExporter

#: What a style may say: what the evidence of the probe uses, and nothing that moves it over other parts of a page.
STYLES = frozenset(
    {
        *("background", "border", "border-collapse", "border-radius", "caption-side", "color", "font-family"),
        *("font-size", "font-style", "font-weight", "margin", "padding", "text-align", "vertical-align"),
        *("white-space", "width"),
    }
)
#: Attributes beside those that are harmless anyway.
ATTRIBUTES = {**nh3.ALLOWED_ATTRIBUTES, "*": {"class", "style"}, "img": {"src", "alt", "width", "height"}}


def write_notebook_pages(run: Path) -> list[str]:
    """Write each executed notebook of a run beside itself as HTML; returns sentences on those that could not be."""
    problems = []
    for path in sorted((run / "notebooks").glob("*.ipynb")):
        if path.name.endswith(".partial.ipynb"):
            continue
        page = path.with_suffix(".html")
        if page.exists() and page.stat().st_mtime_ns > path.stat().st_mtime_ns:
            continue
        try:
            write_page(page, notebook_page(path))
        except Exception as error:  # whatever is wrong with one notebook, the others are pages
            problems.append(f"{path.name} cannot be shown as a page ({type(error).__name__})")
    return problems


def notebook_page(path: Path) -> str:
    """One notebook as a page that fetches nothing and runs nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body, _ = _exporter().from_notebook_node(read_notebook(path))
    # Sanitised by the exporter: no scripts, no handlers, no frames; the page's own policy forbids what might be left.
    return render("notebook.html.j2", title=path.stem, body=Markup(body), colours=Markup(_colours()))


def sanitised(text: str | bytes) -> str:
    """Markup without scripts, handlers, frames, forms, and without anything that is to be fetched."""
    html = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return nh3.clean(
        html,
        attributes=ATTRIBUTES,
        attribute_filter=_only_pictures_inside,
        url_schemes={"http", "https", "mailto", "data"},
        filter_style_properties=set(STYLES),
    )


def _only_pictures_inside(tag: str, attribute: str, value: str) -> str | None:
    """Pictures are in the page itself, and nothing else is."""
    if attribute in ("src", "href") and (tag == "img") != value.strip().lower().startswith("data:image/"):
        return None
    return value


@cache
def _exporter() -> HTMLExporter:
    from nbconvert import HTMLExporter

    logging.getLogger("traitlets").setLevel(logging.ERROR)  # it asks for alternative texts of pictures
    return HTMLExporter(
        template_name="basic",
        sanitize_html=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        filters={"clean_html": sanitised},
    )  # type: ignore[no-untyped-call]


@cache
def _colours() -> str:
    """Colours of code, for light and for dark screens."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
