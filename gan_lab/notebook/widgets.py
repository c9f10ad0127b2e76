"""Runs as live views in a notebook.

A view is a few widgets while its run lives, moved by one thread that follows the events and only
sets traits. What it shows is a function of the run's folder (`card`, `overview`), and every
published view carries the same as text, HTML and a picture. When the run has ended the published
widgets are replaced by these, so that a notebook that was saved, executed without a front end or
converted holds the last state and needs no kernel to show it.
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gan_lab.errors import BadParameter, GanLabError
from gan_lab.events import follow
from gan_lab.notebook import card, overview
from gan_lab.runs import RunFolder
from gan_lab.terminal import in_headless_notebook

if TYPE_CHECKING:
    from gan_lab.notebook.fleet import Fleet

REDRAW_S = 0.2
TABLE_REDRAW_S = 0.5
QUICK_ROWS = 60  # a longer table is redrawn less often
BAR = {"width": "auto", "height": "16px", "margin": "0px 2px"}
KEPT = 20  # finished views whose widgets stay, for pages that were closed when their run ended
WIDGET = "application/vnd.jupyter.widget-view+json"

_views: dict[tuple[str, ...], View] = {}
_lock = threading.Lock()


def watch(*runs: RunFolder | Fleet | Sequence[RunFolder]) -> View:
    """Show one run as a card, several or a fleet as one table; returns at once.

    The same runs give the same view, however often they are asked for. Raises `BadParameter` where
    there is nothing to watch.
    """
    flat = [
        run for given in runs for run in (given if isinstance(given, list | tuple) else [given])
    ]
    if not flat:
        raise BadParameter("Nothing to watch: give watch() a run, several runs or a fleet.")
    key = tuple(str(getattr(run, "task_id", None) or getattr(run, "fleet_id", run)) for run in flat)
    with _lock:
        view = _views.get(key)
        if view is None or view.over():
            _forget(key)
            view = _views[key] = _new_view(flat)
    view.follow()
    return view


def _new_view(runs: list[Any]) -> View:
    if len(runs) == 1 and isinstance(runs[0], RunFolder):
        return Card(runs[0])
    if len(runs) == 1:
        return FleetTable(runs[0])
    if not all(isinstance(run, RunFolder) for run in runs):
        raise BadParameter("Watch one fleet, or any number of runs, but not both in one table.")
    return Table(runs)


def _forget(key: tuple[str, ...]) -> None:
    """Close the widgets of a view that is made anew and of the oldest that have ended."""
    ended = [old for old, view in _views.items() if view.over()]
    for old in {key, *ended[:-KEPT]} & set(_views):
        view = _views.pop(old)
        view.refresh()
        view.close()


class View(ABC):
    """What `watch` returns: shows itself in a notebook, moves by itself, ends with its runs."""

    def __init__(self) -> None:
        self._display_id = uuid.uuid4().hex
        self._published = ""
        self._shown = False
        self._stop = threading.Event()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._widgets: dict[str, Any] = {}

    # ---- what every kind of view says of itself

    @abstractmethod
    def over(self) -> bool:
        """Whether all that is shown has ended."""

    @abstractmethod
    def _follow(self) -> None:
        """Call `_draw` whenever something has changed, until the end."""

    @abstractmethod
    def _draw(self) -> int:
        """Look at the record and set the traits; returns how far the record was read."""

    @abstractmethod
    def _build(self) -> dict[str, Any]:
        """Make the widgets; the one named `box` holds the others."""

    @abstractmethod
    def _forms(self) -> dict[str, Any]:
        """Return the view as it is now, by MIME type."""

    @abstractmethod
    def line(self) -> str:
        """Return where things stand, as one line."""

    # ---- showing

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        forms = self._forms()
        if not self.over() and has_front_end():
            with self._drawing:
                self._widgets = self._widgets or self._build()
            self._draw()
            forms[WIDGET] = self._model
        return forms

    @property
    def _model(self) -> dict[str, Any]:
        identity = self._widgets["box"].model_id
        return {"version_major": 2, "version_minor": 0, "model_id": identity}

    def _ipython_display_(self) -> None:
        """Publish the view under a name, so that its last state can take its place."""
        from IPython.display import display

        self._shown = True
        bundle = self._repr_mimebundle_()
        self._published = bundle["text/plain"]
        display(bundle, raw=True, display_id=self._display_id)
        if WIDGET not in bundle and not self.over():
            _refresh_after_cells(self)

    def __repr__(self) -> str:
        return str(self._forms()["text/plain"])

    def refresh(self) -> None:
        """Replace what was published by the last state in plain forms; by the main thread."""
        from IPython.display import display

        forms = self._forms()
        if self._shown and forms["text/plain"] != self._published:
            self._published = forms["text/plain"]
            display(forms, raw=True, display_id=self._display_id, update=True)

    # ---- living

    def follow(self) -> None:
        """Start to follow, where that has a point: once, in a thread."""
        if self._thread is None and not self.over() and has_front_end():
            self._thread = threading.Thread(target=self._live, name="gan-lab view", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        try:
            self._follow()
        finally:
            self._draw()
            if self._shown and not self._stop.is_set():
                on_main_thread(self.refresh)

    def close(self) -> None:
        """Stop following and take the widgets away; the run goes on."""
        self._stop.set()
        with self._drawing:
            for widget in self._widgets.values():
                for part in (getattr(widget, "style", None), widget.layout, widget):
                    if part is not None:
                        part.close()
            self._widgets = {}

    def _pause(self, seconds: float) -> None:
        self._stop.wait(max(0.0, seconds))


class Card(View):
    """The view of one run."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run

    def over(self) -> bool:
        """Whether the run has ended."""
        return self.run.final

    def _follow(self) -> None:
        drawn, at = 0, 0.0
        for event in follow(self.run, stop=self._stop):
            if event.seq > drawn:
                self._pause(at + REDRAW_S - time.monotonic())
                drawn, at = self._draw(), time.monotonic()

    def _draw(self) -> int:
        shot = card.look(self.run)
        with self._drawing:
            if parts := self._widgets:
                final = shot.status.state.final
                parts["bar"].value = shot.share
                parts["head"].value = card.head(shot)
                parts["bar"].style.bar_color = shot.word[2]
                parts["body"].value = card.body(shot, inline=True)
                parts["cancel"].disabled = final or shot.status.metadata["cancelling"]
                parts["cancel"].layout.display = "none" if final else "inline-flex"
        return shot.seq

    def _build(self) -> dict[str, Any]:
        import ipywidgets as w

        head, body = w.HTML(layout=w.Layout(flex="1 1 auto")), w.HTML()
        bar = w.FloatProgress(max=1.0, layout=w.Layout(**BAR))
        cancel = w.Button(
            description="Cancel",
            tooltip="Stop this task; what it has recorded stays",
            layout=w.Layout(width="auto", height="24px"),
        )
        cancel.on_click(self._cancel)
        top = w.HBox([head, cancel], layout=w.Layout(align_items="center"))
        layout = w.Layout(max_width=f"{card.CURVE_WIDTH}px", overflow="hidden")
        box = w.VBox([top, bar, body], layout=layout)
        return {"head": head, "body": body, "bar": bar, "cancel": cancel, "top": top, "box": box}

    def _cancel(self, _button: Any) -> None:
        import gan_lab

        try:
            gan_lab.task(self.run.task_id).cancel()
            self._draw()
        except GanLabError as error:
            self._widgets["body"].value = f"<b>{error}</b>"

    def _forms(self) -> dict[str, Any]:
        shot = card.look(self.run)
        forms: dict[str, Any] = {"text/plain": card.text(shot), "text/html": card.html(shot)}
        if shot.status.state.final and shot.epochs > 1:
            from gan_lab.notebook.plots import loss_curve

            forms["image/png"] = loss_curve(self.run)._repr_png_()
        return forms

    def line(self) -> str:
        """Return where the run stands, as one line."""
        status, spec = self.run.status(), self.run.spec
        return f"{spec.kind} {spec.machine_id}: {status.progress:3d}%  {status.message}"


class Table(View):
    """The view of many runs."""

    title = ""

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        super().__init__()
        self.runs = runs
        self._ended: dict[str, overview.Line] = {}

    def over(self) -> bool:
        """Whether every run has ended."""
        return all(run.task_id in self._ended or run.final for run in self.runs)

    def lines(self) -> list[overview.Line]:
        """Read the rows; those of runs that have ended are read once."""
        lines = []
        for run in self.runs:
            line = self._ended.get(run.task_id)
            if line is None:
                final = run.final
                line = overview.run_line(run)
                if final:
                    self._ended[run.task_id] = line
            lines.append(line)
        return overview.in_order(lines)

    def _follow(self) -> None:
        while not self._stop.is_set() and not self.over():
            rows = self._draw()
            self._pause(TABLE_REDRAW_S * max(1, rows / QUICK_ROWS))

    def _draw(self) -> int:
        lines = self.lines()
        with self._drawing:
            if parts := self._widgets:
                parts["head"].value = overview.head(self.title, lines)
                parts["bar"].value = overview.total_share(lines)
                parts["table"].value = overview.table(lines)
        return len(lines)

    def _build(self) -> dict[str, Any]:
        import ipywidgets as w

        head, table = w.HTML(), w.HTML()
        bar = w.FloatProgress(max=1.0, layout=w.Layout(**BAR))
        bar.style.bar_color = card.TRAINING
        box = w.VBox([head, bar, table], layout=w.Layout(overflow="hidden"))
        return {"head": head, "bar": bar, "table": table, "box": box}

    def _forms(self) -> dict[str, Any]:
        lines = self.lines()
        return {
            "text/plain": overview.text(self.title, lines),
            "text/html": overview.html(self.title, lines),
        }

    def line(self) -> str:
        """Return where the runs stand, as one line."""
        return f"{self.title}{overview.summary(self.lines())}"


class FleetTable(Table):
    """The view of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        super().__init__([])
        self.title = f"Fleet {fleet.fleet_id} · "

    def over(self) -> bool:
        """Whether the fleet's process has ended."""
        return not self.fleet.running

    def lines(self) -> list[overview.Line]:
        """Read one row per machine."""
        return overview.fleet_lines(self.fleet)


# ---- the kernel around us


def _kernel() -> Any:
    """Return the IPython kernel we run in, None outside of one."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return getattr(get_ipython(), "kernel", None)


def has_front_end() -> bool:
    """Whether somebody can see widgets move."""
    return _kernel() is not None and not in_headless_notebook()


def on_main_thread(call: Any) -> None:
    """Let the kernel's main thread make a call as soon as it is free."""
    kernel = _kernel()
    if kernel is not None:
        kernel.io_loop.add_callback(call)


def _refresh_after_cells(view: View) -> None:
    """Publish the view anew at the end of each cell, until its end has been published."""
    from IPython import get_ipython

    shell = get_ipython()
    if _kernel() is None:
        return  # a terminal cannot take back what it has printed

    def refresh(*_: Any) -> None:
        view.refresh()
        if view.over():
            shell.events.unregister("post_run_cell", refresh)

    shell.events.register("post_run_cell", refresh)
