"""The functions that start tasks, as notebooks call them: what they return shows itself live."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gan_lab.cluster import prognosis, submit


class Run(submit.Run):
    """A task one can watch, wait for and cancel, from any notebook, any day."""

    def watch(self) -> Any:
        """Return the task's live view for a notebook."""
        from gan_lab.notebook.widgets import watch

        return watch(self)

    def _ipython_display_(self) -> None:
        self.watch()._ipython_display_()


def _shown(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its run, or runs, as ones that show themselves."""

    @wraps(start)
    def started(*args: Any, **options: Any) -> Run | list[Run]:
        found = start(*args, **options)
        return [Run.of(run) for run in found] if isinstance(found, list) else Run.of(found)

    return started


seed = _shown(submit.seed)
train = _shown(submit.train)
generate = _shown(submit.generate)
pipeline = _shown(submit.pipeline)
prognose_task = _shown(prognosis.prognose_task)
task = _shown(submit.task)
