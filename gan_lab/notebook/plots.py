"""Pictures: one style, legible on light and on dark pages and for colour-blind readers.

Backgrounds are transparent and the colours are those of Okabe and Ito that are at least 3 : 1
against white and against #111. Each picture carries its message as text.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gan_lab.loss_curve import TRAINING
from gan_lab.task_states import GREY

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from gan_lab.schema import Roles

REAL, SYNTHETIC = GREY, TRAINING
DPI = 160
WIDTH = 8.0  # inches; a notebook's column
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GREY),
    **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 8),
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 5),
    "lines.linewidth": 1.6,
}


class Picture(Figure):
    """A matplotlib figure that shows itself without pyplot, and says what it shows."""

    alt = ""

    def _repr_png_(self) -> bytes:
        FigureCanvasAgg(self)
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=DPI, transparent=True, metadata={"Software": None})
        return file.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        width = round(self.get_size_inches()[0] * 80)
        bundle = {"text/plain": self.alt, "image/png": self._repr_png_()}
        return bundle, {"image/png": {"width": width}}


def style() -> AbstractContextManager[None]:
    """Return the context in which pictures are made."""
    return rc_context(STYLE)


def image_tag(png: bytes, alt: str) -> str:
    """Return an HTML element with the image in it."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" width="640" src="data:image/png;base64,{data}">'


def grid(
    panels: int, columns: int = 3, height: float = 1.5, share_x: bool = False
) -> tuple[Picture, list[Axes]]:
    """Return a picture with so many panels, and the panels; call it inside `style()`."""
    columns = min(columns, panels)
    rows = -(-panels // columns)
    picture = Picture(figsize=(WIDTH, max(2.2, height * rows)), layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False, sharex=share_x).ravel().tolist()
    for empty in axes[panels:]:
        empty.remove()
    for axis in axes[max(0, panels - columns) : panels]:
        axis.xaxis.set_tick_params(labelbottom=True)
    for axis in axes[:panels]:
        axis.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return picture, axes[:panels]


# ---- real against synthetic


def distributions(
    real: pd.DataFrame, synthetic: pd.DataFrame, columns: Sequence[str] | None = None, most: int = 6
) -> Picture:
    """Draw how often each value occurs, real filled and synthetic as a line, a panel a column."""
    names = list(columns or _worth_drawing(real))[:most]
    with style():
        picture, axes = grid(len(names) or 1)
        for axis, name in zip(axes, names, strict=False):
            _distribution(axis, real[name], synthetic[name])
            axis.set_title(name)
        _key(picture, [("real", REAL), ("synthetic", SYNTHETIC)])
    picture.alt = f"Distributions, real and synthetic: {', '.join(names)}."
    return picture


def _worth_drawing(table: pd.DataFrame) -> list[str]:
    numbers = table.select_dtypes("number")
    known = ("life", "rul", "unit")  # counted, not measured
    return [name for name in numbers if name.lower() not in known and numbers[name].nunique() > 1]


def _distribution(axis: Axes, real: pd.Series[Any], synthetic: pd.Series[Any]) -> None:
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    if real.dtype.kind not in "iuf" or real.nunique() <= 12:
        _shares(axis, real, synthetic)
        return
    values, drawn = real.dropna().to_numpy(float), synthetic.dropna().to_numpy(float)
    low, high = np.quantile(np.concatenate([values, drawn]), [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, 41).tolist()
    axis.hist(values, edges, density=True, color=REAL, alpha=0.45)
    axis.hist(drawn, edges, density=True, color=SYNTHETIC, histtype="step", linewidth=1.6)


def _shares(axis: Axes, real: pd.Series[Any], synthetic: pd.Series[Any]) -> None:
    shares = real.value_counts(normalize=True).head(8)
    shares = shares.sort_index() if real.dtype.kind in "iuf" else shares
    drawn = synthetic.value_counts(normalize=True).reindex(shares.index, fill_value=0)
    places = np.arange(len(shares))
    axis.bar(places, shares, width=0.7, color=REAL, alpha=0.45)
    axis.bar(places, drawn, width=0.7, fill=False, edgecolor=SYNTHETIC, linewidth=1.6)
    axis.set_xticks(places, [str(name)[:10] for name in shares.index], fontsize=7)


def _key(picture: Picture, words: Sequence[tuple[str, str]]) -> None:
    handles = [Line2D([], [], color=colour, linewidth=2.5, label=word) for word, colour in words]
    legend = {"ncols": len(words), "handlelength": 1.8, "fontsize": 9}
    picture.legend(handles=handles, loc="outside upper left", **legend)


# ---- lives


def life_with_rul(
    real: pd.DataFrame,
    roles: Roles,
    synthetic: pd.DataFrame | None = None,
    columns: Sequence[str] | None = None,
    most: int = 4,
) -> Picture:
    """Draw one life row by row: a few sensors, and its remaining useful life at the bottom.

    The life of median length of each table, both of the same failure mode; by default the sensors
    that follow the wear most. Synthetic rows that were drawn one by one belong to no life.
    """
    one = median_life(real, roles)
    tables = [("real", one, REAL)]
    loose = synthetic is not None and roles.life is not None and roles.life not in synthetic
    if synthetic is not None and not loose:
        tables.append(("synthetic", median_life(synthetic, roles, alike=one), SYNTHETIC))
    names = list(columns or wearing(real, roles))[:most] + ([roles.rul] if roles.rul else [])
    with style():
        picture, axes = grid(len(names), columns=1, height=1.0, share_x=True)
        for axis, name in zip(axes, names, strict=True):
            for _, table, colour in tables:
                axis.plot(np.arange(len(table)), table[name], color=colour, linewidth=1.1)
            axis.set_title(f"{name}: remaining useful life" if name == roles.rul else name)
        none = "; the synthetic rows, drawn one by one, belong to no life" if loose else ""
        axes[-1].set_xlabel("row of the life" + none)
        _key(picture, [(word, colour) for word, _, colour in tables])
    lengths = ", ".join(f"{word} {len(table)} rows" for word, table, _ in tables)
    picture.alt = f"One life each ({lengths}{none}): {', '.join(names)}."
    return picture


def median_life(
    table: pd.DataFrame, roles: Roles, alike: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the life of median length; the first rows where a table has no lives.

    Of the lives that have a rul and that ended as the life `alike` did, where there are any.
    """
    if roles.life is None:
        return table.head(1000)
    if roles.rul is not None and table[roles.rul].notna().any():
        seen = table.loc[table[roles.rul].notna(), roles.life]
        table = table[table[roles.life].isin(seen)]
    if alike is not None and roles.failure_mode is not None:
        mine = table[roles.failure_mode] == alike[roles.failure_mode].iloc[-1]
        table = table[table[roles.life].isin(table.loc[mine, roles.life])] if mine.any() else table
    lengths = table[roles.life].value_counts().sort_values(kind="stable")
    return table[table[roles.life] == lengths.index[len(lengths) // 2]]


def wearing(table: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the sensors, those that go most with the remaining useful life within lives first."""
    sensors = table.select_dtypes("number").drop(columns=roles.columns, errors="ignore")
    sensors = sensors.loc[:, sensors.nunique() > 1]
    if roles.rul is None or roles.life is None:
        return list(sensors.columns)
    known = table[table[roles.rul].notna()]
    ranks = known[[*sensors, roles.rul]].groupby(known[roles.life]).rank(pct=True)
    strength = ranks[list(sensors)].corrwith(ranks[roles.rul]).abs().fillna(0)
    return list(strength.sort_values(ascending=False, kind="stable").index)
