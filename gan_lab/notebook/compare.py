"""Runs side by side, the list of tasks, and one machine, as a notebook shows them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from gan_lab.errors import BadParameter
from gan_lab.machines import Profile, load_profile
from gan_lab.notebook.card import FONT, MUTED, NUMBERS, WORDS, here, number
from gan_lab.runs import REPORT_HTML, RunFolder, all_runs, open_run
from gan_lab.schema import Roles, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from gan_lab.notebook.plots import Picture

CELL = "padding:2px 14px 2px 0px"


# ---- comparing runs


@dataclass(frozen=True)
class Comparison:
    """Trainings side by side: `table` (one row each; only what differs of the configurations) and
    `picture` (loss curves over each other).
    """

    table: pd.DataFrame
    picture: Picture

    def __repr__(self) -> str:
        return f"{self.table.to_string()}\n{self.picture.alt}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from gan_lab.notebook.plots import COLOURS

        colours = {
            task_id: COLOURS[at % len(COLOURS)] for at, task_id in enumerate(self.table.index)
        }
        shown = self.table.reset_index()

        def swatch(column: str, value: Any) -> str:
            if column != "run":
                return _value(value)
            return f'<span style="color:{colours[value]}"><b>━</b></span> <code>{value}</code>'

        image = self.picture._repr_png_()
        return {
            "text/plain": repr(self),
            "text/html": f"<div>{_img(image, self.picture.alt)}{_table(shown, swatch)}</div>",
            "image/png": image,
        }


def compare(*runs: RunFolder | str) -> Comparison:
    """Lay trainings side by side: losses, what differs in their configurations, quality figures.

    Takes runs or task ids. Raises `BadParameter` where none of them is a training, `UnknownTask`.
    """
    from gan_lab.notebook.plots import loss_curve

    given = [run for one in runs for run in (one if isinstance(one, list | tuple) else [one])]
    opened = [open_run(run) if isinstance(run, str) else run for run in given]
    trained = [run for run in opened if run.spec.kind == "train"]
    if not trained:
        raise BadParameter(
            "Nothing to compare: give compare() two or more trainings or their task ids."
        )
    quality = _qualities()
    rows = [_facts(run) | {"quality": quality.get(run.task_id)} for run in trained]
    table = pd.DataFrame(rows, index=pd.Index([run.task_id[:8] for run in trained], name="run"))
    differing = _differences([run.spec.config for run in trained])
    table = pd.concat(
        [table.iloc[:, :2], differing.set_axis(table.index), table.iloc[:, 2:]], axis=1
    )
    return Comparison(table.dropna(axis=1, how="all"), loss_curve(*trained))


def _facts(run: RunFolder) -> dict[str, Any]:
    losses, status = run.losses(), run.status()
    known = not losses.empty
    return {
        "machine": run.spec.machine_id,
        "state": WORDS[status.state][1],
        "epochs done": len(losses),
        "final loss": float(losses["loss"].iloc[-1]) if known else None,
        "best validation": float(losses["validation"].min()) if known else None,
        "seconds": float(losses["seconds"].sum()) if known else None,
    }


def _differences(configs: list[dict[str, Any]]) -> pd.DataFrame:
    names = dict.fromkeys(name for config in configs for name in config)
    differing = [name for name in names if len({str(config.get(name)) for config in configs}) > 1]
    return pd.DataFrame([{name: config.get(name) for name in differing} for config in configs])


def _qualities() -> dict[str, float]:
    """Return the newest quality figure of each training, found through what was drawn from it."""
    found = all_runs()
    drawn_from = {
        run.task_id: run.spec.config.get("model_task_id")
        for run in found
        if run.spec.kind == "generate"
    }
    qualities: dict[str, float] = {}
    for run in reversed(found):
        result = run.result_data() if run.spec.kind == "report" else None
        source = drawn_from.get(run.spec.after or "")
        if source and result and result.get("quality") is not None:
            qualities[source] = result["quality"]
    return qualities


# ---- all tasks


class Tasks(pd.DataFrame):
    """The list of tasks: a DataFrame that shows itself with states and links."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        rows = [_task_row(row) for row in self.head(100).to_dict("records")]
        shown = pd.DataFrame(rows)
        more = f'<div style="{MUTED}">and {len(self) - 100} more</div>' if len(self) > 100 else ""
        if shown.empty:
            return (
                f'<div style="{FONT}">No task yet. Start one with lab.pipeline(machine_id).</div>'
            )
        return _table(shown, lambda _, value: value) + more


def tasks(most: int | None = None) -> Tasks:
    """Return one row per task, newest first; `most`: only so many. Shown as a table with links."""
    from gan_lab.cluster.submit import tasks as list_tasks

    return Tasks(list_tasks(most))


def _task_row(row: dict[str, Any]) -> dict[str, str]:
    task_id = row["task_id"]
    sign, word, colour = WORDS[State(row["status"].upper())]
    started = row["created"][:16].replace("T", " ")
    epoch = "" if pd.isna(row["epoch"]) else f"{row['epoch']:.0f}"
    return {
        "task": f"<code>{task_id[:8]}</code>",
        "machine": escape(row["machine_id"]),
        "kind": escape(row["kind"]),
        "state": f'<span style="color:{colour};white-space:nowrap">{sign} {word}</span>',
        "%": str(row["progress"]),
        "epoch": epoch,
        "loss": number(row["loss"]) if not pd.isna(row["loss"]) else "",
        "started": f'<span style="white-space:nowrap">{started}</span>',
        "": _links(open_run(task_id))
        or f'<span style="{MUTED}">{escape(row["message"][:90])}</span>',
    }


def _links(run: RunFolder) -> str:
    named = {"losses": run.path / "losses.csv", "report": run.path / REPORT_HTML}
    there = {word: here(str(path)) for word, path in named.items() if path.exists()}
    result = run.result_data() or {}
    made = [result.get("file_path"), *(result.get("files_generated") or [])]
    there |= {path.rsplit("/", 1)[-1]: here(str(path)) for path in made if path}
    return " ".join(f'<a href="{escape(path)}">{escape(word)}</a>' for word, path in there.items())


# ---- one machine


@dataclass(frozen=True)
class Machine:
    """One machine: its `profile`, its tables, and a picture."""

    profile: Profile

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
        from gan_lab.synth.tables import seed_path

        return seed_path(self.profile.machine_id).exists()

    def seed(self) -> pd.DataFrame:
        """Read the seed table; raises `NoSeedData`."""
        from gan_lab.synth.tables import read_seed

        return read_seed(self.profile.machine_id)

    def synthetic(self, split: str = "train") -> pd.DataFrame:
        """Read one split of the synthetic tables; raises `BadTable` where there is none."""
        from gan_lab.synth.tables import read_synthetic

        return read_synthetic(self.profile.machine_id, split)

    @cached_property
    def life(self) -> pd.DataFrame:
        """The life of median length of the seed table; a simulated one where there is none yet."""
        from gan_lab.notebook.plots import median_life
        from gan_lab.schema import SeedConfig

        if self.simulated and not self.has_seed:
            from gan_lab.synth.seed import simulate

            return simulate(self.profile, SeedConfig.model_validate({"lives": 1, "rows": 2_000}))
        return median_life(self.seed(), self.roles)

    @cached_property
    def picture(self) -> Picture:
        """Every sensor over one life."""
        from gan_lab.notebook.plots import machine_picture

        return machine_picture(self.profile, self.life)

    def __repr__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self._facts()]
        return "\n".join([self.profile.machine_id, *lines, self.picture.alt])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        image = self.picture._repr_png_()
        rows = "".join(
            f'<div><span style="{MUTED}">{name}</span> {escape(value)}</div>'
            for name, value in self._facts()
        )
        page = (
            f'<div style="{FONT};font-size:13px;line-height:20px;{NUMBERS}">'
            f'<div style="font-size:14px"><b>{self.profile.machine_id}</b></div>{rows}'
            f"{_img(image, self.picture.alt)}</div>"
        )
        return {"text/plain": repr(self), "text/html": page, "image/png": image}

    def _facts(self) -> list[tuple[str, str]]:
        profile = self.profile
        modes = ", ".join(
            f"{name} {mode.share:.0%}" for name, mode in profile.failure_modes.items()
        )
        states = ", ".join(f"{name} {state.share:.0%}" for name, state in profile.states.items())
        life = profile.life
        found = [
            (
                "what",
                " ".join(
                    x for x in (profile.manufacturer, profile.model, f"({profile.category})") if x
                ),
            ),
            ("about", profile.description),
            ("life", f"{life.mean_h:,.0f} h, spread {life.spread_h:,.0f} h" if life else ""),
            ("interval", _interval(profile.interval_s)),
            ("fails by", modes),
            ("states", states),
            ("sensors", str(len(profile.sensors) or "")),
        ]
        return [(name, value) for name, value in found if value]


def machine(machine_id: str) -> Machine:
    """Take hold of one machine; shown, it is what is known of it and every sensor over one life.

    The life comes from the seed table, or is simulated where there is none yet. Raises
    `UnknownMachine`.
    """
    return Machine(load_profile(machine_id))


def _interval(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"


# ---- HTML


def _img(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" width="640" src="data:image/png;base64,{data}">'


def _value(value: Any) -> str:
    if value is None or value != value:
        return ""
    return number(value) if isinstance(value, float) else escape(str(value))


def _table(shown: pd.DataFrame, cell: Callable[[str, Any], str]) -> str:
    """Return a quiet table; `cell(column, value)` gives the HTML of each cell."""
    right = {name for name in shown if shown[name].dtype.kind in "iuf"} | {"%", "epoch", "loss"}

    def tag(kind: str, name: str, inside: str) -> str:
        side = "right" if name in right else "left"
        quiet = f";font-weight:normal;{MUTED}" if kind == "th" else ""
        return f'<{kind} style="text-align:{side};{CELL}{quiet}">{inside}</{kind}>'

    header = "".join(tag("th", name, escape(str(name))) for name in shown)
    rows = "".join(
        f"<tr>{''.join(tag('td', name, cell(name, row[name])) for name in shown)}</tr>"
        for row in shown.to_dict("records")
    )
    return (
        f'<div style="{FONT};font-size:13px;line-height:18px;{NUMBERS};overflow:auto">'
        f'<table style="border-collapse:collapse;margin:0px"><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
