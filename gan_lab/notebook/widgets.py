"""Runs as live views in a notebook.

A view is one widget while its run lives, moved by one thread that only sets its value. When the run
has ended it is replaced by text and HTML, which need no kernel to be shown.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from gan_lab.errors import BadParameter
from gan_lab.notebook import card
from gan_lab.terminal import in_headless_notebook
from gan_lab.wire.follow import Doorbell
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import RunFolder

REDRAW_S, SEVERAL_REDRAW_S = 0.2, 0.5
RESTING = 9  # times as long as a drawing took: the kernel is there for others
WIDGET = "application/vnd.jupyter.widget-view+json"

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

    def now() -> card.Shown:
        with looking:
            shown = [card.show(card.look(*each)) for each in zip(runs, histories, strict=True)]
        return card.Shown(
            live="".join(each.live for each in shown),
            html="".join(each.html for each in shown),
            text="\n\n".join(each.text for each in shown),
        )

    return View(now, lambda: all(run.final for run in runs), runs[0] if len(runs) == 1 else None)


class View:
    """What `watch` returns: shows itself in a notebook, moves by itself, ends with its runs.

    `now` looks at the record, `over` says whether all that is shown has ended. One `run` alone is
    drawn when the wire tells of something, and once a second where it does not.
    """

    def __init__(
        self, now: Callable[[], card.Shown], over: Callable[[], bool], run: RunFolder | None = None
    ) -> None:
        self.now, self.over, self.run = now, over, run
        self._display_id = uuid.uuid4().hex
        self._published = ""
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._widget: Any = None

    def forms(self) -> dict[str, Any]:
        """Return the view as it is now, by MIME type."""
        now = self.now()
        return {"text/plain": now.text, "text/html": now.html}

    # ---- showing

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        forms = self.forms()
        if not self.over() and has_front_end():
            import ipywidgets

            with self._drawing:
                self._widget = self._widget or ipywidgets.HTML()
            self._draw()
            model_id = self._widget.model_id
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

    def _draw(self) -> None:
        live = self.now().live
        with self._drawing:
            if self._widget is not None:
                self._widget.value = live

    # ---- living

    def follow(self) -> None:
        """Start to follow, where that has a point: once, in a thread."""
        if self._thread is None and not self.over() and has_front_end():
            self._thread = threading.Thread(target=self.live, name="gan-lab view", daemon=True)
            self._thread.start()

    def live(self) -> None:
        """Draw until the end, whenever something may have changed."""
        redraw_s = SEVERAL_REDRAW_S if self.run is None else REDRAW_S
        try:
            with nullcontext() if self.run is None else Doorbell(self.run) as bell:
                while not self.over():
                    started = time.monotonic()
                    self._draw()
                    drawn_s = time.monotonic() - started
                    time.sleep(max(redraw_s - drawn_s, RESTING * drawn_s))
                    if bell:
                        bell.wait()
        finally:
            self._draw()
            kernel = _kernel()
            if self._published and kernel is not None:
                kernel.io_loop.add_callback(self.refresh)  # by its main thread, once it is free


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
