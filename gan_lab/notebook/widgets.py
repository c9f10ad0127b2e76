"""Runs as live views in a notebook.

A view is a few widgets while its run lives, moved by one thread that only sets traits. When the run
has ended they are replaced by text, HTML and a picture, which need no kernel to be shown.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from gan_lab.errors import BadParameter, GanLabError
from gan_lab.loss_curve import loss_curve_svg
from gan_lab.notebook import card, overview
from gan_lab.terminal import in_headless_notebook
from gan_lab.wire.follow import Doorbell
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import RunFolder

REDRAW_S, TABLE_REDRAW_S = 0.2, 0.5
RESTING = 9  # times as long as a drawing took: the kernel is there for others
KEPT = 20  # finished views whose widgets stay, for pages that were closed when their run ended
WIDGET = "application/vnd.jupyter.widget-view+json"
# Where the kernel is gone, a widget is marked by a red icon at each of its parts. One line says it.
STYLE = """<style>
.gan-lab .widget-html, .gan-lab .widget-html-content {min-width: 0; max-width: 100%}
.gan-lab .jupyter-widgets-disconnected::before, .gan-lab.jupyter-widgets-disconnected::before,
.gan-lab.jupyter-widgets-disconnected button {display: none !important}
.gan-lab.jupyter-widgets-disconnected::after
  {content: "As it was when its kernel ended: AGAIN shows it as it is now."; opacity: .65;
  font-size: 11px}
</style>"""

_views: dict[tuple[str, ...], View] = {}
_lock = threading.Lock()


def watch(*runs: Any) -> View:
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
    if len(runs) == 1:
        return Card(runs[0]) if isinstance(runs[0], RunFolder) else runs[0].view()
    if not all(isinstance(run, RunFolder) for run in runs):
        raise BadParameter("Watch one fleet, or any number of runs, but not both in one table.")
    return _table(runs)


def _forget(key: tuple[str, ...]) -> None:
    """Close the widgets of a view that is made anew and of the oldest that have ended."""
    ended = [old for old, view in _views.items() if view.over()]
    for old in {key, *ended[:-KEPT]} & set(_views):
        view = _views.pop(old)
        view.refresh()
        view.close()


class View:
    """What `watch` returns: shows itself in a notebook, moves by itself, ends with its runs.

    `now` looks at the record, `over` says whether all that is shown has ended, `again` is what
    shows the same from anywhere.
    """

    redraw_s = TABLE_REDRAW_S

    def __init__(self, now: Callable[[], card.Shown], over: Callable[[], bool], again: str) -> None:
        self.now, self.over, self.again = now, over, again
        self._display_id = uuid.uuid4().hex
        self._published = ""
        self._stop = threading.Event()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._widgets: dict[str, Any] = {}

    def forms(self) -> dict[str, Any]:
        """Return the view as it is now, by MIME type."""
        now = self.now()
        return {"text/plain": now.text, "text/html": now.html}

    # ---- showing

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        forms = self.forms()
        if not self.over() and has_front_end():
            with self._drawing:
                self._widgets = self._widgets or self._build()
            self._draw()
            model_id = self._widgets["box"].model_id
            forms[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": model_id}
        return forms

    def _ipython_display_(self) -> None:
        """Publish the view under a name, so that its last state can take its place."""
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        self._published = bundle["text/plain"]
        display(bundle, raw=True, display_id=self._display_id)
        if WIDGET in bundle and self.over():
            self.refresh()  # it ended while it was shown: its thread found nothing to replace yet
        elif WIDGET not in bundle and not self.over():
            _refresh_after_cells(self)

    def __repr__(self) -> str:
        return self.now().text

    def refresh(self) -> None:
        """Replace what was published by the last state in plain forms; by the main thread."""
        from IPython.display import display

        forms = self.forms()
        if self._published and forms["text/plain"] != self._published:
            self._published = forms["text/plain"]
            display(forms, raw=True, display_id=self._display_id, update=True)

    def _build(self) -> dict[str, Any]:
        """Make the widgets; the one named `box` holds the others."""
        import ipywidgets as w

        head, body, style = w.HTML(layout=w.Layout(flex="1 1 auto")), w.HTML(), w.HTML()
        style.value = STYLE.replace("AGAIN", self.again)
        bar = w.FloatProgress(max=1.0, layout=w.Layout(width="auto", height="16px", margin="0 2px"))
        style.layout.display = "none"
        top = w.HBox([head], layout=w.Layout(align_items="center"))
        box = w.VBox([top, bar, body, style], layout=w.Layout(overflow="hidden"))
        box.add_class("gan-lab")
        return {"head": head, "bar": bar, "body": body, "style": style, "top": top, "box": box}

    def _draw(self) -> None:
        now = self.now()
        with self._drawing:
            if parts := self._widgets:
                parts["head"].value, parts["body"].value = now.head, now.body
                parts["bar"].value, parts["bar"].style.bar_color = now.share, now.colour

    # ---- living

    def follow(self) -> None:
        """Start to follow, where that has a point: once, in a thread."""
        if self._thread is None and not self.over() and has_front_end():
            self._thread = threading.Thread(target=self._live, name="gan-lab view", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        try:
            self.draw_until_over()
        finally:
            self._draw()
            if self._published and not self._stop.is_set():
                on_main_thread(self.refresh)

    def draw_until_over(self, wait: Callable[[threading.Event], None] | None = None) -> None:
        """Draw until the end or `close`, whenever `wait` says that something may have changed."""
        while not self._stop.is_set() and not self.over():
            started = time.monotonic()
            self._draw()
            drawn_s = time.monotonic() - started
            self._stop.wait(max(self.redraw_s - drawn_s, RESTING * drawn_s))
            if wait:
                wait(self._stop)

    def close(self) -> None:
        """Stop following and take the widgets away; the run goes on."""
        self._stop.set()
        with self._drawing:
            for widget in self._widgets.values():
                for part in (getattr(widget, "style", None), widget.layout, widget):
                    if part is not None:
                        part.close()
            self._widgets = {}


class Card(View):
    """The view of one run."""

    redraw_s = REDRAW_S

    def __init__(self, run: RunFolder) -> None:
        super().__init__(self._look, lambda: run.final, card.take_hold(run))
        self.run, self._losses = run, LossHistory(run)
        self._looking = threading.Lock()  # the kernel's main thread looks as well

    def _look(self) -> card.Shown:
        with self._looking:
            return card.show(card.look(self.run, self._losses))

    def forms(self) -> dict[str, Any]:
        """Return the view as it is now, by MIME type; a run that has ended also as a picture."""
        forms = super().forms()
        losses = self.run.losses().to_dict("list") if self.over() else {}
        if picture := loss_curve_svg({self.run.spec.machine_id: losses}) if losses else "":
            forms["image/svg+xml"] = picture
        return forms

    def draw_until_over(self, wait: Callable[[threading.Event], None] | None = None) -> None:
        """Draw when the wire tells of something, and once a second where it does not."""
        with Doorbell(self.run) as doorbell:
            super().draw_until_over(wait or doorbell.wait)

    def _build(self) -> dict[str, Any]:
        import ipywidgets as w

        parts = super()._build()
        cancel = w.Button(
            description="Cancel",
            tooltip="Stop this task; what it has recorded stays",
            layout=w.Layout(width="auto", height="24px"),
        )
        cancel.on_click(self._cancel)
        parts["top"].children = [parts["head"], cancel]
        parts["box"].layout.max_width = f"{card.WIDTH}px"
        return {**parts, "cancel": cancel}

    def _draw(self) -> None:
        super()._draw()
        with self._drawing:
            if cancel := self._widgets.get("cancel"):
                cancel.disabled = self.over() or self.run.cancelling
                cancel.layout.display = "none" if self.over() else "inline-flex"

    def _cancel(self, _button: Any) -> None:
        import gan_lab

        try:
            gan_lab.task(self.run.task_id).cancel()
            self._draw()
        except GanLabError as error:
            self._widgets["body"].value = card.page(f"<b>{error}</b>")


def _table(runs: Sequence[RunFolder]) -> View:
    """Return the view of many runs; those that have ended are read once."""
    ended: dict[str, overview.Line] = {}

    def line(run: RunFolder) -> overview.Line:
        if run.task_id in ended:
            return ended[run.task_id]
        final, found = run.final, overview.run_line(run)
        if final:
            ended[run.task_id] = found
        return found

    return View(
        lambda: overview.show([line(run) for run in runs]),
        lambda: all(run.task_id in ended or run.final for run in runs),
        "lab.watch(" + ", ".join(map(card.take_hold, runs[:2])) + ", ...)",
    )


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


def on_main_thread(call: Callable[[], None]) -> None:
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
