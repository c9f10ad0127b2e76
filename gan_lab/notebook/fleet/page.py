"""Pages of HTML about a fleet: their frame, and one machine's notebook as a page."""

from __future__ import annotations

import html
import re
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c22; --odd: #b70; --good: #187a3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #f77; --odd: #fb5; --good: #6c9; } }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
body > div { overflow-x: auto; }
body img, body svg { max-width: 100%; height: auto; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
.fleet h1 { font-size: 1.25rem; line-height: 1.35; margin: .2rem 0 .4rem; }
.fleet .bad { color: var(--bad); }
.fleet .odd { color: var(--odd); }
.fleet .good { color: var(--good); }
.fleet .cards { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.fleet article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .8rem;
  min-width: 0; }
.fleet h2 { font-size: 1rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.fleet p { margin: .25rem 0; overflow-wrap: anywhere; }
.fleet dl { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2rem .6rem;
  margin: .4rem 0; }
.fleet dt { font-size: .75rem; opacity: .7; }
.fleet dd { margin: 0; font-variant-numeric: tabular-nums; }
.fleet img { max-height: 11rem; width: auto; border-radius: .3rem; background: #fff; }
.fleet svg { width: 100%; height: 3rem; }
"""


def page(title: str, body: str) -> str:
    """Return one page that needs no other file and no network, and fits a phone."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def notebook_page(notebook: Path, title: str) -> str:
    """Return an executed notebook's texts and outputs as one page, without its code."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.exclude_anchor_links = True
    return page(title, exporter.from_filename(str(notebook))[0])


def escaped(value: str) -> str:
    """Return a text as HTML shows it, without the colours of a terminal."""
    return html.escape(re.sub(r"\x1b\[[0-9;]*m", "", value))
