"""The morning after: what needs a person first, then every machine with its figures."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from gan_lab.notebook.card import clock, number, page
from gan_lab.notebook.fleet.fleet import Fleet, Row
from gan_lab.notebook.overview import WIDE, html_table
from gan_lab.task_states import BY_NAME
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.run_folder import REPORT_HTML


def report_html(fleet: Fleet, start: str | Path = ".") -> str:
    """Return the report as a piece of HTML: the headline, then the machines, bad ones first.

    Links lead from the folder `start`, which is that of the page or notebook that shows it.
    """
    rows = sorted(fleet.rows(), key=lambda row: row.needs is None)
    started = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {clock(fleet.seconds)}"
    about = f"Fleet {fleet.fleet_id}, {Path(fleet.plan.notebook).name}, {started}"
    headline = (
        f'<div style="font-size:20px;line-height:28px"><b>{escape(fleet.headline())}</b></div>'
    )
    summary = f"<p>{escape(f'{about}: {fleet.summary()}')}</p>"
    table = f'<div style="overflow-x:auto">{html_table([_cells(row, start) for row in rows])}</div>'
    return page(headline, summary, table, width_px=WIDE)


def _cells(row: Row, start: str | Path) -> dict[str, str]:
    state, figures = BY_NAME[row.state], row.figures
    links = {"notebook": row.notebook} if row.notebook else {}
    for run in row.runs:
        if run.spec.kind == "report" and run.report_html() is not None:
            links["report"] = run.path / REPORT_HTML
    words = " ".join(filter(None, [row.needs, figures["finding"]]))
    opened = ", ".join(
        f"<a href='{escape(os.path.relpath(path, start))}'>{what}</a>"
        for what, path in links.items()
    )
    return {
        "machine": escape(row.machine_id),
        "state": f'<span style="color:{state.colour}">{state.symbol} {state.word}</span>',
        "verdict": figures["verdict"] or "",
        "time": clock(row.seconds) if row.seconds else "",
        "final loss": number(figures["final_loss"]),
        **{name: number(figures[name]) for name in ("quality", "utility", "memory")},
        "": f"{escape(words)} {opened}",
    }


def report_page(fleet: Fleet) -> str:
    """Return the report as a page that needs no other file and no network, and fits a phone."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Fleet {fleet.fleet_id}</title><style>:root {{ color-scheme: light dark }}</style>"
        f"</head><body><a href='{fleet_folder.TABLE}'>{fleet_folder.TABLE}</a>"
        f"{report_html(fleet, fleet.folder)}</body></html>"
    )
