"""Charts with zoom and hover, drawn once, that need neither a kernel nor the internet to be seen.

Each brings BokehJS along, packed (0.6 MB), and a picture made from the same figures that stands
until the script has run. Where scripts do not run, as in a notebook that Jupyter does not trust,
the picture stays. Backgrounds are transparent and the colours are those of Okabe and Ito that are
at least 3 : 1 against white and against #111. Each chart carries its message as text.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from pathlib import Path
from typing import Any

from bokeh import __version__
from bokeh.embed import json_item
from bokeh.layouts import column, gridplot, row
from bokeh.models.annotations import Legend
from bokeh.models.widgets import Select
from bokeh.plotting import figure
from bokeh.settings import settings

from gan_lab.loss_curve import TRAINING
from gan_lab.task_states import GREY

REAL, SYNTHETIC = GREY, TRAINING
SCRIPTS = ("bokeh", "bokeh-widgets")
SCRIPT = """(async () => {
  const load = async () => {
    for (const library of %(libraries)s) {
      const bytes = Uint8Array.from(atob(library), each => each.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const script = document.createElement("script");
      script.textContent = await new Response(stream).text();
      document.head.append(script);
    }
    return window.Bokeh;
  };
  const pages = window.gan_lab_charts ??= {};
  const bokeh = await (pages["%(version)s"] ??= load());
  document.getElementById("%(place)s").replaceChildren();
  await bokeh.embed.embed_item(%(item)s, "%(place)s");
})();"""
STYLE: Any = {
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GREY),
    **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
}


def axes(x: str, y: str = "", height: int = 200, **options: Any) -> Any:
    """Return an empty figure of Bokeh with these labels, legible on light and on dark pages."""
    plot: Any = figure(
        x_axis_label=x, y_axis_label=y, height=height, sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset", active_drag="box_zoom", **options,
    )  # fmt: skip
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.title.text_color, plot.title.text_font_size = GREY, "11px"
    plot.xaxis.ticker.desired_num_ticks = 4
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = axis.major_tick_line_color = GREY
        axis.minor_tick_line_color = None
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = GREY, 0.15
    return plot


@dataclass(frozen=True)
class Chart:
    """Figures of Bokeh in a grid, and what they say in words.

    A renderer with a name is in the legend. `choices` stand above the figures, and
    work without a kernel. Without figures it is its text.
    """

    figures: Sequence[Any]
    alt: str
    columns: int = 1
    choices: Sequence[Select] = ()

    def __post_init__(self) -> None:
        if not self.figures:
            return
        first = self.figures[0]
        named = [(each.name, [each]) for each in first.renderers if each.name]
        look: Any = {"orientation": "horizontal", "label_text_color": GREY, "location": "left"}
        look |= {"background_fill_color": None, "border_line_color": None, "margin": 0}
        look |= {"spacing": 10, "label_text_font_size": "11px"}
        if named:
            first.add_layout(Legend(items=named, **look), "above")

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        said = {"text/plain": self.alt, "text/html": self.html}
        return {**said, "image/png": self.png} if self.figures else said

    @cached_property
    def html(self) -> str:
        """The chart as an HTML element."""
        if not self.figures:
            return f"<p>{escape(self.alt)}</p>"
        options: Any = {"toolbar_options": {"logo": None}, "sizing_mode": "stretch_width"}
        grid = gridplot(list(self.figures), ncols=self.columns, **options)
        layout = column(
            row(*self.choices, styles={"flex-wrap": "wrap"}),
            grid,
            sizing_mode="stretch_width",
            max_width=960,
        )
        place, picture = f"gan-lab-{uuid.uuid4().hex}", base64.b64encode(self.png).decode()
        item = json.dumps(json_item(layout if self.choices else grid)).replace("</", r"<\/")
        values = {"libraries": _libraries(), "version": __version__, "place": place, "item": item}
        return (
            f'<div id="{place}" style="max-width:960px">'
            f'<img alt="{escape(self.alt)}" width="640" src="data:image/png;base64,{picture}">'
            f"</div><script>{SCRIPT % values}</script>"
        )

    @cached_property
    def png(self) -> bytes:
        """The chart as a picture: what its figures show before anybody chooses or zooms."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        rows = -(-len(self.figures) // self.columns)
        height = sum(each.height for each in self.figures[:: self.columns]) / 100
        with rc_context(STYLE):
            picture = Figure(figsize=(8.0, height), layout="constrained")
            FigureCanvasAgg(picture)
            panels = picture.subplots(rows, self.columns, squeeze=False).ravel()
            for each in panels[len(self.figures) :]:
                each.remove()
            for plot, panel in zip(self.figures, panels, strict=False):
                _draw(plot, panel)
            named = {
                each.name: getattr(each.glyph, "line_color", None) or each.glyph.fill_color
                for each in self.figures[0].renderers
                if each.name
            }
            keys = [Line2D([], [], color=colour, label=name) for name, colour in named.items()]
            picture.legend(handles=keys, loc="outside upper left", ncols=len(keys) or 1)
            file = io.BytesIO()
            bare: Any = {"transparent": True, "metadata": {"Software": None}}
            picture.savefig(file, format="png", dpi=160, **bare)
        return file.getvalue()


def _draw(plot: Any, panel: Any) -> None:
    """Draw the lines, bands and points of a Bokeh figure on axes of matplotlib."""
    for each in plot.renderers:
        data, glyph = each.data_source.data, each.glyph
        x, *y = (
            data[getattr(glyph, name)]
            for name in ("x", "y", "y1", "y2")
            if name in glyph.properties()
        )
        if len(y) == 2:
            panel.fill_between(x, *y, color=glyph.fill_color, alpha=glyph.fill_alpha, linewidth=0)
        elif hasattr(glyph, "marker"):
            panel.scatter(x, *y, s=9, color=glyph.fill_color, linewidth=0)
        else:
            look = {"color": glyph.line_color, "alpha": glyph.line_alpha}
            panel.plot(x, *y, linewidth=0.8 * glyph.line_width, **look)
    panel.set_title(plot.title.text, parse_math=False)  # a name may hold two $
    panel.set_xlabel(plot.xaxis[0].axis_label, parse_math=False)
    panel.set_ylabel(plot.yaxis[0].axis_label, parse_math=False)


@cache
def _libraries() -> str:
    folder = Path(settings.bokehjs_path()) / "js"
    packed = [
        gzip.compress((folder / f"{name}.min.js").read_bytes(), 9, mtime=0) for name in SCRIPTS
    ]
    return json.dumps([base64.b64encode(each).decode() for each in packed])
