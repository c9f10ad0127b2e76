"""Runs as live views in a notebook.

A view is a few widgets while its run lives, moved by one thread that only sets traits. When the run
has ended they are replaced by text and HTML, which need no kernel to be shown.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from html import escape
from typing import Any

from gan_lab.errors import BadParameter, GanLabError
from gan_lab.notebook import card
from gan_lab.terminal import in_headless_notebook, kernel
from gan_lab.wire.follow import Doorbell
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import RunFolder

REDRAW_S, SEVERAL_REDRAW_S = 0.2, 0.5
RESTING = 9  # times as long as a drawing took: the kernel is there for others
WIDGET = "application/vnd.jupyter.widget-view+json"
# Where the kernel is gone, a widget is marked by a red icon at each of its parts: one is enough.
# And nobody hears a button.
STYLE = """<style>
.gan-lab .widget-html, .gan-lab .widget-html-content {min-width: 0; max-width: 100%}
.gan-lab .jupyter-widgets-disconnected::before, .gan-lab.jupyter-widgets-disconnected button
  {display: none !important}
</style>"""

_views: dict[tuple[str, ...], View] = {}
_lock = threading.Lock()


def watch(*runs: Any) -> View:
    """Show runs as cards, one below the other, or a fleet as a table; returns at once.

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
            if view is not None:
                view.close()
            view = _views[key] = _new_view(flat)
    view.follow()
    return view


def _new_view(runs: list[Any]) -> View:
    if not all(isinstance(run, RunFolder) for run in runs):
        if len(runs) == 1:
            return runs[0].view()
        raise BadParameter("Watch one fleet, or any number of runs, but not both.")
    histories = [LossHistory(run) for run in runs]
    looking = threading.Lock()  # the kernel's main thread looks as well

    def now() -> list[card.Shown]:
        with looking:
            return [card.show(card.look(*each)) for each in zip(runs, histories, strict=True)]

    return View(now, lambda: all(run.final for run in runs), runs)


class Panel:
    """The widgets of one run, or of a fleet: what it is, its bar, what is known of it."""

    def __init__(self, run: RunFolder | None) -> None:
        import ipywidgets as w

        self.run = run
        self.head, self.body = w.HTML(layout=w.Layout(flex="1 1 auto")), w.HTML()
        across = w.Layout(width="auto", height="16px", margin="0 2px")
        self.bar = w.FloatProgress(max=1.0, layout=across)
        self.cancel = w.Button(
            description="Cancel",
            tooltip="Stop this task; what it has recorded stays",
            layout=w.Layout(width="auto", height="24px"),
        )
        self.cancel.on_click(self._cancel)
        top = w.HBox([self.head, self.cancel] if run is not None else [self.head])
        width = f"{card.WIDTH}px" if run is not None else "100%"
        layout = w.Layout(max_width=width, overflow="hidden")
        self.box = w.VBox([top, self.bar, self.body], layout=layout)

    def draw(self, now: card.Shown) -> None:
        """Show a moment; only what has changed is sent."""
        self.head.value, self.body.value = now.head, now.body
        self.bar.value, self.bar.style.bar_color = now.share, now.colour
        if self.run is not None:
            self.cancel.disabled = self.run.cancelling or self.run.final

    def _cancel(self, _button: Any) -> None:
        import gan_lab

        assert self.run is not None
        try:
            gan_lab.task(self.run.task_id).cancel()
        except GanLabError as error:
            self.body.value = card.page(f"<b>{escape(str(error))}</b>")


class View:
    """What `watch` returns: shows itself in a notebook, moves by itself, ends with its runs.

    `now` looks at the record of each of its `runs`, `over` says whether all that is shown has
    ended. One run alone is drawn when the wire tells of something, and once a second where it does
    not.
    """

    def __init__(
        self,
        now: Callable[[], list[card.Shown]],
        over: Callable[[], bool],
        runs: Sequence[RunFolder | None] = (None,),
    ) -> None:
        self.now, self.over, self.runs = now, over, runs
        self._display_id = uuid.uuid4().hex
        self._published = ""
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._panels: list[Panel] = []
        self._box: Any = None

    def forms(self) -> dict[str, Any]:
        """Return the view as it is now, by MIME type."""
        now = self.now()
        text = "\n\n".join(each.text for each in now)
        return {"text/plain": text, "text/html": "".join(each.html for each in now)}

    # ---- showing

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        forms = self.forms()
        if not self.over() and has_front_end():
            model_id = self.box().model_id
            forms[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": model_id}
        return forms

    def _ipython_display_(self) -> None:
        """Publish the view under a name, so that its last state can take its place."""
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        self._published = bundle["text/plain"]
        display(bundle, raw=True, display_id=self._display_id)
        named = [f"lab.task('{run.task_id}')" for run in self.runs if run is not None]
        if (
            WIDGET in bundle and named
        ):  # of a widget whose kernel is gone a reloaded page has nothing
            again = f"{', '.join(named)} shows this again in any notebook."
            display({"text/html": card.note(again), "text/plain": again}, raw=True)
        if WIDGET in bundle and self.over():
            self.refresh()  # it ended while it was shown: its thread found nothing to replace yet
        elif WIDGET not in bundle and not self.over():
            _refresh_after_cells(self)

    def __repr__(self) -> str:
        return str(self.forms()["text/plain"])

    def refresh(self) -> None:
        """Replace what was published by the last state in plain forms; by the main thread."""
        from IPython.display import display

        forms = self.forms()
        if self._published and forms["text/plain"] != self._published:
            self._published = forms["text/plain"]
            display(forms, raw=True, display_id=self._display_id, update=True)

    def box(self) -> Any:
        """Return the widgets, made when they are first asked for."""
        import ipywidgets

        with self._drawing:
            if self._box is None:
                self._panels = [Panel(run) for run in self.runs]
                style = ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(display="none"))
                self._box = ipywidgets.VBox([*(panel.box for panel in self._panels), style])
                self._box.add_class("gan-lab")
        self._draw()
        return self._box

    def close(self) -> None:
        """Take the widgets of a view that has ended away."""
        with self._drawing:
            if self._box is not None:
                _close(self._box)
            self._panels, self._box = [], None

    def _draw(self) -> None:
        now = self.now()
        with self._drawing:
            for panel, each in zip(self._panels, now, strict=False):  # none before they are shown
                panel.draw(each)

    # ---- living

    def follow(self) -> None:
        """Start to follow, where that has a point: once, in a thread."""
        if self._thread is None and not self.over() and has_front_end():
            self._thread = threading.Thread(target=self.live, name="gan-lab view", daemon=True)
            self._thread.start()

    def live(self) -> None:
        """Draw until the end, whenever something may have changed."""
        alone = self.runs[0] if len(self.runs) == 1 else None
        redraw_s = SEVERAL_REDRAW_S if alone is None else REDRAW_S
        try:
            with nullcontext() if alone is None else Doorbell(alone) as bell:
                while not self.over():
                    started = time.monotonic()
                    self._draw()
                    drawn_s = time.monotonic() - started
                    time.sleep(max(redraw_s - drawn_s, RESTING * drawn_s))
                    if bell:
                        bell.wait()
        finally:
            self._draw()
            if self._published and kernel() is not None:
                kernel().io_loop.add_callback(self.refresh)  # by its main thread, once it is free


def _close(widget: Any) -> None:
    """Close a widget with all that is in it and of it."""
    for child in getattr(widget, "children", ()):
        _close(child)
    for part in (getattr(widget, "style", None), widget.layout, widget):
        if part is not None:
            part.close()


# ---- the kernel around us


def has_front_end() -> bool:
    """Whether somebody can see widgets move."""
    return kernel() is not None and not in_headless_notebook()


def _refresh_after_cells(view: View) -> None:
    """Publish the view anew at the end of each cell, until its end has been published."""
    from IPython import get_ipython

    shell = get_ipython()
    if kernel() is None:
        return  # a terminal cannot take back what it has printed

    def refresh(*_: Any) -> None:
        view.refresh()
        if view.over():
            shell.events.unregister("post_run_cell", refresh)

    shell.events.register("post_run_cell", refresh)
