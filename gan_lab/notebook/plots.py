"""Real lives beside synthetic ones, and what is believed of one that still runs, as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, CustomJS, DataRange1d, HoverTool
from bokeh.models.annotations import Title
from bokeh.models.widgets import Select
from numpy.typing import NDArray

from gan_lab.notebook.card import number
from gan_lab.notebook.chart import REAL, SYNTHETIC, Chart, axes

if TYPE_CHECKING:
    from gan_lab.schema import Roles

Values = NDArray[Any]  # numbers, or dates of an axis of time
LIVES = 40  # of each table, as many of each failure mode
POINTS = 6000  # of all lives of a table together; longer ones are drawn with gaps
ROWS = 1000  # of a table without lives
ALL = "all"
LOOK: Any = {  # of what is chosen by, on light and on dark pages
    "width": 170,
    "stylesheets": [
        "select:not([size]).bk-input {appearance: auto; background: none; color: inherit}"
        "option {color: #000}"
    ],
}
CHOOSE = """
for (const source of sources) {
  const data = {...source.data}, modes = source.data._mode;
  selects.forEach((select, at) => {
    data["_y" + at] = Array.from(data[select.value], (value, row) =>
      mode.value === all || modes[row] === mode.value ? value : NaN);
  });
  source.data = data;
}
const across = axes.length / selects.length;
axes.forEach((axis, at) => {
  const name = selects[Math.floor(at / across)].value;
  axis.axis_label = units[name] ?? "";
  titles[at].text = name + titles[at].tags[0];
});
"""


def life_with_rul(
    real: pd.DataFrame,
    roles: Roles,
    synthetic: pd.DataFrame | None = None,
    columns: Sequence[str] | None = None,
    most: int = 3,
    units: Mapping[str, str] | None = None,
) -> Chart:
    """Draw lives over the rows to their end, real ones beside synthetic ones, `most` sensors.

    Forty lives of each table, as many of each failure mode. Failure mode and sensors are chosen
    above the chart: by default all modes, and the sensors that follow the wear most, of `columns`
    where they are named. `units` of sensors stand at the axes. Synthetic rows that were drawn one
    by one belong to no life.
    """
    units = dict(units or {})
    tables = {"real": real}
    loose = synthetic is not None and roles.life is not None and roles.life not in synthetic
    if synthetic is not None and not loose:
        tables["synthetic"] = synthetic
    rul = [roles.rul] if roles.rul else []
    named = dict.fromkeys(columns or [*wearing(real, roles), *rul])
    lacking = set(real.columns).difference(tables.get("synthetic", real).columns)
    sensors = [name for name in named if name not in lacking]
    shown = sensors[:most]
    drawn = {side: _lives(table, roles, sensors) for side, table in tables.items()}
    sources = {side: _source(table, shown) for side, table in drawn.items()}
    figures, ends = [], DataRange1d()
    for at, name in enumerate(shown):
        heights = DataRange1d()
        for side, source in sources.items():
            title = Title(text=f"{name}, {side}", tags=[f", {side}"])
            shared: Any = {"x_range": ends, "y_range": heights, "title": title}
            plot = axes("rows to the end", units.get(name, ""), **shared)
            colour = REAL if side == "real" else SYNTHETIC
            plot.line("_x", f"_y{at}", source=source, line_color=colour, line_alpha=0.7)
            said = {"life": "@_life", "row": "@_x", "value": f"@_y{at}{{0.[000]}}"}
            plot.add_tools(HoverTool(tooltips=list(said.items()), line_policy="nearest"))
            figures.append(plot)
    counts = ", ".join(f"{side} {table['_life'].nunique()}" for side, table in drawn.items())
    none = "; the synthetic rows, drawn one by one, belong to no life" if loose else ""
    alt = f"Lives over the rows to their end ({counts}{none}): {', '.join(shown) or 'no numbers'}."
    modes = sorted(set().union(*(table["_mode"] for table in drawn.values())))
    choices = _choices(list(sources.values()), figures, sensors, units, modes)
    return Chart(figures, alt, columns=len(sources), choices=choices)


def _lives(table: pd.DataFrame, roles: Roles, sensors: list[str]) -> pd.DataFrame:
    """Return the lives that are drawn, one below the other with a gap between."""
    table = (table if roles.life else table.head(ROWS)).reset_index(drop=True)
    life = table[roles.life] if roles.life else pd.Series(0, table.index)
    known = roles.failure_mode in table
    mode = table[roles.failure_mode] if known else pd.Series(ALL, table.index)
    modes = mode.astype(object).fillna("none").astype(str).groupby(life).last()
    drawn = modes.groupby(modes).head(max(1, LIVES // max(1, modes.nunique())))
    rows = life.isin(drawn.index)
    to_end = -life.groupby(life).cumcount(ascending=False)
    kept = rows & (to_end % max(1, -(-int(rows.sum()) // POINTS)) == 0)
    lines = table.loc[kept, sensors].astype(np.float32)
    lines = lines.assign(_x=to_end, _life=life.astype(str), _mode=life.map(drawn))
    lines = lines.loc[np.repeat(lines.index, 1 + (lines["_x"] == 0))]  # a life's end stands twice,
    lines.loc[lines.index.duplicated(), sensors] = np.nan  # second as the gap behind it
    return lines


def _source(lives: pd.DataFrame, shown: list[str]) -> ColumnDataSource:
    columns = {str(name): values.to_numpy() for name, values in lives.items()}
    return ColumnDataSource(columns | {f"_y{at}": columns[name] for at, name in enumerate(shown)})


def _choices(
    sources: list[ColumnDataSource],
    figures: list[Any],
    sensors: list[str],
    units: dict[str, str],
    modes: list[str],
) -> list[Select]:
    """Return what chooses the sensor of each row of figures, and the failure mode."""
    options: dict[str, Any] = {"options": sensors, "title": "sensor"}
    rows = len(figures) // len(sources)
    selects = [Select(value=name, **LOOK, **options) for name in sensors[:rows]]
    known_modes: list[Any] = list(dict.fromkeys([ALL, *modes]))
    mode = Select(title="failure mode", value=ALL, options=known_modes, **LOOK)
    mode.visible = len(known_modes) > 2
    known = {"sources": sources, "selects": selects, "mode": mode, "all": ALL, "units": units}
    known |= {"titles": [each.title for each in figures]}
    choose = CustomJS(code=CHOOSE, args=known | {"axes": [each.yaxis[0] for each in figures]})
    for select in (mode, *selects):
        select.js_on_change("value", choose)
    return [mode, *selects]


def wearing(table: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the sensors, those that go most with the remaining useful life within lives first.

    What has two values, such as the flag of a failure, is none.
    """
    sensors = table.select_dtypes("number").drop(columns=roles.columns, errors="ignore")
    sensors = sensors.loc[:, sensors.nunique() > 2]
    if roles.rul is None or roles.life is None:
        return list(sensors.columns)
    known = table[table[roles.rul].notna()]
    ranks = known[[*sensors, roles.rul]].groupby(known[roles.life]).rank(pct=True)
    strength = ranks[list(sensors)].corrwith(ranks[roles.rul]).abs().fillna(0)
    return list(strength.sort_values(ascending=False, kind="stable").index)


def fan(
    x: Values,
    middle: Values,
    bands: dict[str, tuple[Values, Values]],
    labels: tuple[str, str],
    alt: str,
    known: tuple[str, Values, Values] | None = None,
    lines: Sequence[tuple[Values, Values]] = (),
    ends: tuple[Values, Values] | None = None,
) -> Chart:
    """Draw bands around a middle line over `x` (points,), which may be dates.

    `bands` are lower and upper ends (points,) by name, the widest first; `known`, the `ends` and
    each of the `lines` are x and y; `alt` says the whole in words.
    """
    dates = np.issubdtype(np.asarray(x).dtype, np.datetime64)
    plot = axes(*labels, height=320, x_axis_type="datetime" if dates else "linear")
    for (name, band), alpha in zip(bands.items(), (0.2, 0.35), strict=False):
        plot.varea(x, *band, fill_color=SYNTHETIC, fill_alpha=alpha, name=name)
    for line in lines:
        plot.line(*line, line_color=SYNTHETIC, line_alpha=0.5, line_width=0.8)
    if ends:
        plot.scatter(*ends, size=4, color=SYNTHETIC, name="ends")
    name, (low, high) = next(iter(bands.items()))
    said = [
        f"{at if dates else number(at)}: {number(mid)}; {name} {number(lower)} to {number(upper)}"
        for at, mid, lower, upper in zip(pd.Series(x), middle, low, high, strict=True)
    ]
    data = {"x": x, "y": middle, "said": said}
    median = plot.line("x", "y", source=data, line_color=SYNTHETIC, line_width=2, name="median")
    if known:
        name, past_x, past_y = known
        plot.line(past_x, past_y, line_color=REAL, line_width=1.6, name=name)
    plot.add_tools(HoverTool(renderers=[median], mode="vline", tooltips="@said"))
    return Chart([plot], alt)
