"""A table of HTML that reads well on light and on dark pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from gan_lab.notebook.card import MUTED, SMALL

WIDE = 960  # pixels
FIGURE = re.compile(r"[\d.,:\u2212\u202f]*")


def html_table(rows: Sequence[dict[str, str]]) -> str:
    """Return a quiet table of cells that are HTML; columns with nothing in them are left out."""
    names = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    figures = {name for name in names if all(FIGURE.fullmatch(row[name]) for row in rows)}

    def cell(tag: str, name: str, inside: str, style: str) -> str:
        side = "right" if name in figures else "left"
        shape = f"text-align:{side};white-space:{'normal' if name == '' else 'nowrap'}"
        return f'<{tag} style="{shape};padding:1px 14px 1px 0px{style}">{inside}</{tag}>'

    quiet = f";font-weight:normal;{MUTED};{SMALL}"
    header = "".join(cell("th", name, escape(name), quiet) for name in names)
    body = "".join(
        f"<tr>{''.join(cell('td', name, row[name], '') for name in names)}</tr>" for row in rows
    )
    return (
        '<table style="border-collapse:collapse;margin:0px;font-size:13px;line-height:18px">'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
    )
