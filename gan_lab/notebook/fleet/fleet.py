"""A fleet as people see it: where its machines stand, shown, followed and cancelled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gan_lab.notebook.card import Shown, clock, page
from gan_lab.notebook.fleet.rows import BAD_ENDS, Row, figures, headline, rows_html
from gan_lab.notebook.table import WIDE
from gan_lab.notebook.widgets import View, watch
from gan_lab.task_states import BLUE, TASK_STATES
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.fleet_folder import FleetFolder, find_fleet, fleet_runs
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

LOOK_S = 0.5  # how late a reader sees a change


class Fleet:
    """A handle of one fleet; `process`: that of the fleet, where this one has started it."""

    def __init__(self, folder: FleetFolder, process: subprocess.Popen[bytes] | None = None) -> None:
        self._folder, self._process = folder, process
        self._ended: dict[tuple[str, str | None], Row] = {}  # what has ended changes no more
        self.fleet_id, self.folder = folder.fleet_id, folder.path
        self.plan = folder.plan

    def __repr__(self) -> str:
        return f"<Fleet {self.fleet_id}: {self.summary()}>"

    @property
    def report(self) -> Path:
        """The report as one page; there when the fleet has ended."""
        return self.folder / fleet_folder.REPORT_HTML

    @property
    def running(self) -> bool:
        """Whether the fleet's process is at work."""
        if self._process is not None:
            self._process.poll()  # puts away a child that has ended
        return self._folder.alive

    # ---- where it stands

    def rows(self) -> list[Row]:
        """Return where each machine stands, in the order of the plan."""
        alive, runs = self._folder.alive, self.runs()
        return [self._row(name, alive, runs.get(name, [])) for name in self.plan.machines]

    def _row(self, machine_id: str, alive: bool, found: list[RunFolder]) -> Row:
        record = self._folder.record(machine_id)
        known = (machine_id, record.ended if record else None)
        if known in self._ended:
            return self._ended[known]
        row = Row(machine_id, self._folder.state(record, alive), runs=found)
        if record is None:
            return row
        row.seconds, row.message, row.figures = record.seconds, record.error or "", figures(found)
        row.progress = 100 * max(0, record.cell - 1) // max(1, record.cells)
        if row.state == "running":
            statuses = [run.status() for run in found]
            now = next((one for one in statuses if not one.state.final), None)
            row.message = now.message if now else f"cell {record.cell} of {record.cells}"
            row.progress = sum(one.progress for one in statuses) // max(1, len(statuses))
            row.seconds = _seconds_since(record.started)
        elif row.state == "interrupted":
            row.message = f"cut off in cell {record.cell}"
        elif row.state == "done":
            row.progress, verdict = 100, row.figures["verdict"]
            row.message = f"report: {verdict}" if verdict else ""
        if (path := self._folder.notebook(machine_id)).exists():
            row.notebook = path
        if record.ended:
            self._ended[known] = row
        return row

    def runs(self) -> dict[str, list[RunFolder]]:
        """Return the run folders of every machine that has tasks in this fleet, oldest first."""
        return fleet_runs(self.fleet_id, self._folder.home)

    def status(self) -> pd.DataFrame:
        """Return one row per machine: its state, figures and errors, then its parameters."""
        import pandas as pd

        table = [
            {"machine_id": row.machine_id, "state": row.state, "progress": row.progress}
            | {"seconds": row.seconds}
            | row.figures
            | {"error": row.message if row.state in BAD_ENDS else None}
            | {"notebook": row.notebook and str(row.notebook)}
            | self.plan.machines[row.machine_id]
            for row in self.rows()
        ]
        return pd.DataFrame(table)

    def counts(self) -> dict[str, int]:
        """Return how many machines there are in all and in each state that occurs."""
        states = list(self._folder.states().values())
        found = {one.word: states.count(one.word) for one in TASK_STATES if one.word in states}
        return {"machines": len(states)} | found

    def summary(self) -> str:
        """Return the counts as half a sentence: `2 of 3 done, 1 failed`."""
        counts = self.counts()
        total = counts.pop("machines")
        done = f"{counts.pop('done', 0)} of {total} done"
        return ", ".join([done, *(f"{number} {word}" for word, number in counts.items())])

    def headline(self) -> str:
        """Return the first line of the report: which machines need attention, and why."""
        return headline(self.rows())

    @property
    def seconds(self) -> float:
        """Seconds from the fleet's plan to the end of its last notebook (now, while one runs)."""
        if self.running:
            return _seconds_since(self.plan.created)
        records = [self._folder.record(machine_id) for machine_id in self.plan.machines]
        ends = [record.ended for record in records if record and record.ended]
        began = datetime.fromisoformat(self.plan.created)
        last = max(map(datetime.fromisoformat, ends), default=began)
        return (last - began).total_seconds()

    # ---- following and cancelling

    def view(self) -> View:
        """Return a new view of the fleet, as `watch` shows it: one row a machine."""
        return View(lambda: [self._shown()], lambda: not self.running)

    def _shown(self) -> Shown:
        rows = self.rows()
        ended = sum(row.state not in ("waiting", "running") for row in rows)
        lines = [f"{row.state:<12} {row.machine_id:<34} {row.message}".rstrip() for row in rows]
        return Shown(
            head="",
            share=ended / max(len(rows), 1),
            colour=BLUE,
            body=self._html(rows, None),
            html=self._html(rows, "."),
            text="\n".join([f"Fleet {self.fleet_id}: {self.summary()}", *lines]),
        )

    def html(self, start: str | Path = ".") -> str:
        """Return the report: the headline, then the machines, those that need a person first.

        Links lead from the folder `start`, which is that of the page or notebook that shows it.
        """
        return self._html(self.rows(), start)

    def _html(self, rows: list[Row], start: str | Path | None) -> str:
        began = f"{self.plan.created[:16].replace('T', ' ')} UTC, {clock(self.seconds)}"
        about = f"Fleet {self.fleet_id}, {Path(self.plan.notebook).name}, {began}"
        title = (
            f'<div style="font-size:18px;line-height:26px"><b>{escape(headline(rows))}</b></div>'
        )
        summary = f"<p>{escape(f'{about}: {self.summary()}')}</p>"
        return page(title, summary, rows_html(rows, start), width_px=WIDE)

    def watch(self) -> View:
        """Return the fleet's live table for a notebook."""
        return watch(self)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.watch()._repr_mimebundle_(**options)

    def follow(self) -> Iterator[list[Row]]:
        """Yield the rows now, whenever something has changed, and once more behind the end."""
        before: list[Row] | None = None
        while True:
            alive = self.running
            rows = self.rows()
            if rows != before or not alive:
                yield rows
            if not alive:
                return
            before = rows
            time.sleep(LOOK_S)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the fleet has ended and its report lies there; raises `TimeoutError` (s)."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.running:
            if time.monotonic() > until:
                raise TimeoutError(f"Fleet {self.fleet_id} has not ended: {self.summary()}.")
            time.sleep(LOOK_S)
        return self

    def cancel(self) -> None:
        """Cancel the fleet's tasks and end its notebooks; also the tasks of a fleet that died."""
        if self.running:
            self._folder.request_cancel()
        else:
            cancel_tasks(self._folder)


def cancel_tasks(folder: FleetFolder) -> None:
    """Cancel the tasks of a fleet that have not ended."""
    from gan_lab.cluster.queue import cancel_run

    for found in fleet_runs(folder.fleet_id, folder.home).values():
        for run in found:
            if not run.final:
                cancel_run(run)


def fleet(fleet_id: str = "last") -> Fleet:
    """Take hold of a fleet again, by its id or the beginning of it, from anywhere, any day."""
    return Fleet(find_fleet(fleet_id))


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
