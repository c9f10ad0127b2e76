"""A fan chart: what is known, and bands of what is believed; with zoom and hover, or as a picture.

Grey is what was, blue what is believed, as in all pictures (`plots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.notebook.bokeh_html import as_html
from gan_lab.notebook.card import number
from gan_lab.notebook.plots import REAL, SYNTHETIC, Picture, grid, image_tag, style

if TYPE_CHECKING:
    from bokeh.plotting import figure

BAND_OPACITIES, LINE_OPACITY = (0.2, 0.35), 0.5
HEIGHT_PX, WIDTH_PX = 320, 760
Values = NDArray[Any]  # numbers, or dates of an axis of time


@dataclass
class FanChart:
    """Bands around a middle line over `x` (points,), which may be dates.

    `bands` are lower and upper ends (points,) by name, the widest first; `known`, the `ends` and
    each of the `lines` are x and y; `alt` says the whole in words.
    """

    x: Values
    middle: Values
    bands: dict[str, tuple[Values, Values]]
    axes: tuple[str, str]
    alt: str
    known: tuple[str, Values, Values] | None = None
    lines: Sequence[tuple[Values, Values]] = ()
    ends: tuple[Values, Values] | None = None

    def picture(self) -> Picture:
        """Return the chart as a picture."""
        with style():
            picture, (axis,) = grid(1, height=3.2)
            for (name, band), alpha in zip(self.bands.items(), BAND_OPACITIES, strict=False):
                axis.fill_between(
                    self.x, *band, color=SYNTHETIC, alpha=alpha, linewidth=0, label=name
                )
            for x, y in self.lines:
                axis.plot(x, y, color=SYNTHETIC, alpha=LINE_OPACITY, linewidth=0.7)
            if self.ends:
                axis.scatter(*self.ends, s=9, color=SYNTHETIC, linewidth=0, label="ends")
            axis.plot(self.x, self.middle, color=SYNTHETIC, label="median")
            if self.known:
                name, x, y = self.known
                axis.plot(x, y, color=REAL, linewidth=1.3, label=name)
            axis.set(xlabel=self.axes[0], ylabel=self.axes[1])
            count = len(axis.get_legend_handles_labels()[0])
            picture.legend(loc="outside upper left", ncols=count, fontsize=9)
        picture.alt = self.alt
        return picture

    def plot(self) -> figure:
        """Return the chart as a Bokeh figure, with zoom and hover."""
        from bokeh.models import HoverTool
        from bokeh.plotting import figure

        dates = np.issubdtype(np.asarray(self.x).dtype, np.datetime64)
        plot = figure(
            height=HEIGHT_PX, max_width=WIDTH_PX, sizing_mode="stretch_width",
            x_axis_type="datetime" if dates else "linear", tools="pan,box_zoom,wheel_zoom,reset",
            active_drag="box_zoom", x_axis_label=self.axes[0], y_axis_label=self.axes[1],
        )  # fmt: skip
        for (name, band), alpha in zip(self.bands.items(), BAND_OPACITIES, strict=False):
            plot.varea(self.x, *band, fill_color=SYNTHETIC, fill_alpha=alpha, legend_label=name)
        for x, y in self.lines:
            plot.line(x, y, line_color=SYNTHETIC, line_alpha=LINE_OPACITY, line_width=0.8)
        if self.ends:
            plot.scatter(*self.ends, size=4, color=SYNTHETIC, legend_label="ends")
        data = {"x": self.x, "y": self.middle, "said": self.hover()}
        middle = plot.line(
            "x", "y", source=data, line_color=SYNTHETIC, line_width=2, legend_label="median"
        )
        if self.known:
            name, x, y = self.known
            plot.line(x, y, line_color=REAL, line_width=1.6, legend_label=name)
        plot.add_tools(HoverTool(renderers=[middle], mode="vline", tooltips="@said"))
        _quiet(plot)
        return plot

    def hover(self) -> list[str]:
        """Say each point in words: x, the median, and the widest band."""
        name, (low, high) = next(iter(self.bands.items()))
        x = [at if isinstance(at, pd.Timestamp) else number(at) for at in pd.Series(self.x)]
        return [
            f"{at}: {number(middle)}; {name} {number(lower)} to {number(upper)}"
            for at, middle, lower, upper in zip(x, self.middle, low, high, strict=True)
        ]

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        png = self.picture()._repr_png_()
        html = as_html(self.plot(), image_tag(png, self.alt))
        return {"text/plain": self.alt, "text/html": html, "image/png": png}


def _quiet(plot: figure) -> None:
    """Give a plot the looks of our pictures: legible on light and on dark pages."""
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.toolbar.logo = None
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = REAL
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = axis.major_tick_line_color = REAL
        axis.minor_tick_line_color = None
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = REAL, 0.15
    legend = plot.legend[0]
    legend.orientation, legend.label_text_color = "horizontal", REAL
    legend.background_fill_color = legend.border_line_color = None
    legend.margin, legend.spacing = 0, 16
    legend.location = "left"
    plot.add_layout(legend, "above")
