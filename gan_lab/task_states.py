"""How the state of a task, or of a fleet's notebook, is shown everywhere: one table."""

from __future__ import annotations

from dataclasses import dataclass

from gan_lab.schema import State, TaskStatus

# Okabe and Ito's palette (2008): colour-blind readers see the difference, and each is at least
# 3 : 1 against white and against JupyterLab's dark #111.
BLUE, VERMILION, GREEN, VIOLET, GREY = "#0f7fc4", "#d55e00", "#009e73", "#b56fa0", "#7d7d7d"
AMBER = "#b07d00"  # theirs, darker


@dataclass(frozen=True)
class TaskState:
    """One state: its name for programs, word and symbol for people, and its colours.

    `terminal` is a style of Rich. `ended`: the work is behind us.
    """

    name: str
    word: str
    symbol: str
    colour: str
    terminal: str
    ended: bool = False


# In the order of every list: what is at work, what waits, what needs a look, what is done.
TASK_STATES = (
    TaskState("running", "running", "●", BLUE, "cyan"),
    TaskState("retry", "running again", "●", BLUE, "cyan"),
    TaskState("cancelling", "cancelling", "●", GREY, "yellow"),
    TaskState("pending", "waiting", "○", GREY, "dim"),
    TaskState("lost", "lost", "?", VIOLET, "magenta"),
    TaskState("failure", "failed", "✕", VERMILION, "red", ended=True),
    TaskState("interrupted", "interrupted", "!", VERMILION, "red"),
    TaskState("revoked", "cancelled", "■", GREY, "yellow", ended=True),
    TaskState("success", "done", "✓", GREEN, "green", ended=True),
)
VERDICT_COLOURS = {"good": GREEN, "care": AMBER, "bad": VERMILION}  # of a report
BY_NAME = {name: state for state in TASK_STATES for name in (state.name, state.word)}
BY_NAME["unknown"] = BY_NAME["lost"]  # the word of `TaskStatus` for it
_IN_STATUS = {BY_NAME[state.status] for state in State}
STATUS_NAMES = tuple(state.name for state in TASK_STATES if state in _IN_STATUS)


def state_of(status: TaskStatus) -> TaskState:
    """Return the state of a task; one that is asked to stop says so."""
    return BY_NAME["cancelling" if status.metadata["cancelling"] else status.state.lower()]
