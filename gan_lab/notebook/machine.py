"""One machine as a notebook shows it: what is known of it, and its sensors over its lives."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from gan_lab.cluster import catalogue
from gan_lab.notebook.card import MUTED, page
from gan_lab.notebook.table import WIDE
from gan_lab.schema import Roles, SeedConfig

if TYPE_CHECKING:
    import pandas as pd

    from gan_lab.notebook.chart import Chart

SHOWN_ROWS = 2_000  # of the life that is simulated where there is no seed table yet


class Machine(catalogue.Machine):
    """One machine, shown as what is known of it and its sensors over its lives.

    The lives come from the seed table, or one is simulated where there is none yet. Raises
    `UnknownMachine`.
    """

    @property
    def roles(self) -> Roles:
        """Which columns play which part."""
        return self.profile.roles

    @property
    def simulated(self) -> bool:
        """Whether its seed table can be simulated."""
        return self.profile.simulated

    @property
    def has_seed(self) -> bool:
        """Whether there is a seed table."""
        return self.seed_path.exists()

    @property
    def units(self) -> dict[str, str]:
        """The units of its sensors, where they have one."""
        return {name: one.unit for name, one in self.profile.sensors.items() if one.unit}

    def seed(self) -> pd.DataFrame:
        """Read the seed table; raises `NoSeedData`."""
        from gan_lab.workspace.tables import read_seed

        return read_seed(self.machine_id)

    def synthetic(self, split: str = "train") -> pd.DataFrame:
        """Read one split of the synthetic tables; raises `BadTable` where there is none."""
        from gan_lab.workspace.tables import read_synthetic

        return read_synthetic(self.machine_id, split)

    @cached_property
    def picture(self) -> Chart:
        """The lives of its seed table; a simulated one where there is none yet."""
        from gan_lab.notebook.plots import life_with_rul

        if self.simulated and not self.has_seed:
            from gan_lab.synth.simulator.simulate import simulate

            config = SeedConfig.model_validate({"lives": 1, "rows": SHOWN_ROWS})
            return life_with_rul(simulate(self.profile, config), self.roles, units=self.units)
        return life_with_rul(self.seed(), self.roles, units=self.units)

    def __repr__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self._facts().items()]
        return "\n".join([self.profile.machine_id, *lines, self.picture.alt])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        facts = [
            f'<div><span style="{MUTED}">{name}</span> {escape(value)}</div>'
            for name, value in self._facts().items()
        ]
        title = f'<div style="font-size:14px"><b>{self.profile.machine_id}</b></div>'
        html = page(title, *facts, self.picture.html, width_px=WIDE)
        drawn = self.picture._repr_mimebundle_()
        return drawn | {"text/plain": repr(self), "text/html": html}

    def _facts(self) -> dict[str, str]:
        profile, life = self.profile, self.profile.life
        made_by = " ".join(filter(None, (profile.manufacturer, profile.model)))
        found = {
            "what": f"{made_by} ({profile.category})".strip(),
            "about": profile.description,
            "life": f"{life.mean_h:,.0f} h, spread {life.spread_h:,.0f} h" if life else "",
            "interval": f"{profile.interval_s:g} s" if profile.interval_s else "",
            "fails by": _shares(profile.failure_modes),
            "states": _shares(profile.states),
            "sensors": str(len(profile.sensors) or ""),
        }
        return {name: value for name, value in found.items() if value}


machine = Machine  # as a notebook calls it


def _shares(named: dict[str, Any]) -> str:
    return ", ".join(f"{name} {one.share:.0%}" for name, one in named.items())
