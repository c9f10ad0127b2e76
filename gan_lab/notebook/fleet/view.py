"""A fleet as a live table: one row a machine."""

from __future__ import annotations

from gan_lab.notebook import card, overview
from gan_lab.notebook.card import clock, here
from gan_lab.notebook.fleet.fleet import Fleet
from gan_lab.notebook.overview import Line
from gan_lab.notebook.widgets import View
from gan_lab.task_states import BY_NAME


def fleet_lines(fleet: Fleet) -> list[Line]:
    """Read one row per machine of a fleet."""
    return [
        Line(
            row.machine_id, row.stage, BY_NAME[row.state], row.progress / 100, row.epoch,
            row.loss, row.message, {"notebook": here(row.notebook)} if row.notebook else {},
            time=clock(row.seconds) if row.seconds else "",
        )
        for row in fleet.rows()
    ]  # fmt: skip


class FleetTable(View):
    """The view of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.fleet = fleet

    def over(self) -> bool:
        """Whether the fleet's process has ended."""
        return not self.fleet.running

    def now(self) -> card.Shown:
        """Look at the record of every machine's notebook."""
        return overview.show(fleet_lines(self.fleet), f"Fleet {self.fleet.fleet_id} · ", "machines")
