"""What can go wrong, with the one table front ends translate: exit status, HTTP status, reason.

Every error is built from sentences (what happened, the value, what to do next) and pickles, because
it crosses process boundaries on its way from a worker to the person who asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_VALUE_LETTERS = 60  # of a wrong value that a sentence repeats


class GanLabError(Exception):
    """An error whose text is meant for the person who asked.

    `reason` is the name of its class as programs read it: `unknown_machine` of `UnknownMachine`.
    """

    exit_status = 1
    http_status = 500
    reason = "error"

    def __init_subclass__(cls) -> None:
        cls.reason = vars(cls).get("reason") or re.sub(r"\B(?=[A-Z])", "_", cls.__name__).lower()

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a cell: the sentence; the traceback is one click away."""
        import traceback
        from html import escape

        from IPython.display import display

        sentence, raised = [f"{type(self).__name__}: {self}"], id(self.__traceback__)
        if self.__dict__.get("_folded") == raised:
            return sentence  # IPython asks again, for its history
        self._folded = raised
        whole = escape("".join(traceback.format_exception(self)))
        folded = f"<details><summary>Traceback</summary><pre>{whole}</pre></details>"
        display({"text/html": folded, "text/plain": ""}, raw=True)
        return sentence


class RequestError(GanLabError):
    """The request itself was wrong; nothing was started."""

    exit_status = 2
    http_status = 422
    reason = "bad_request"


class BadParameter(RequestError):
    """A parameter has a value that cannot be used."""


class BadTable(RequestError):
    """A table cannot be read or cannot be learned from."""


class BadProfile(RequestError):
    """A machine profile is wrong; `problems` lists everything that is, one sentence each."""

    def __init__(self, message: str, problems: list[str] | None = None) -> None:
        super().__init__(message, problems or [])
        self.message = message
        self.problems = problems or []

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"- {problem}" for problem in self.problems)])


class TooLarge(RequestError):
    """What was sent is larger than is taken."""

    http_status = 413


class TooMuchMemory(RequestError):
    """A task needs more memory than any worker may use."""


class TooLittleDisk(RequestError):
    """A task would write more than the workspace's disk has room for."""


class UnknownMachine(RequestError):
    """No profile has this machine id."""

    http_status = 404


class UnknownTask(RequestError):
    """No run folder has this task id."""

    http_status = 404


class NoSeedData(RequestError):
    """The machine has no seed table to learn from."""

    http_status = 409


class NoModel(RequestError):
    """The machine has no trained model to draw from."""

    http_status = 409


class NoReport(RequestError):
    """There is no report to show."""

    http_status = 404


class MachineExists(BadParameter):
    """There is a machine of this id already, and nobody said to replace it."""

    http_status = 409


class DamagedFile(GanLabError):
    """A file of a run folder holds something else than what was written."""


class ServiceUnreachable(GanLabError):
    """Redis or the Dask scheduler did not answer."""

    exit_status = 3
    http_status = 503


class TaskFailed(GanLabError):
    """A task ended with an error."""


class TaskRefused(TaskFailed):
    """A task found, once it had begun, that what was asked of it cannot be had."""

    exit_status = RequestError.exit_status
    http_status = RequestError.http_status


class TaskCancelled(GanLabError):
    """A task was cancelled before it ended."""

    http_status = 409


def validation_problems(error: ValidationError, whole: str = "it") -> list[str]:
    """Say everything pydantic found wrong, one phrase each: the field, its value and the reason.

    `whole`: what to call the thing itself where no single field is to blame.
    """
    problems = []
    for item in error.errors():
        field = ".".join(map(str, item["loc"])) or whole
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            problems.append(f"{field}: is missing; add it")
            continue
        if item["type"] == "extra_forbidden":
            reason = "no such field; remove it"
        problems.append(f"{field}={repr(item['input'])[:MAX_VALUE_LETTERS]}: {reason}")
    return problems
