"""Ask for work and take hold of it again: seed, train, generate, pipeline, and `Run`."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gan_lab.cluster import services
from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.estimate import refuse_what_does_not_fit, refuse_what_no_disk_holds
from gan_lab.cluster.prepare import attach, prepare
from gan_lab.cluster.queue import (
    cancel_run,
    hand_over,
    lost,
    statuses,
    warn_of_what_is_lost,
    warn_when_lost,
    workers_of,
)
from gan_lab.cluster.sight import refuse_unfit_workers
from gan_lab.cluster.work import sentence
from gan_lab.errors import GanLabError
from gan_lab.schema import CONFIGS, Kind, TaskStatus
from gan_lab.settings import Settings, load_settings
from gan_lab.task_states import state_of
from gan_lab.terminal import in_headless_notebook, kernel, now_and_then
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import (
    all_runs,
    create_run,
    discard_run,
    disk_of,
    open_run,
    runs_folder,
)

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

Submit = TypeVar("Submit", bound=Callable[..., "Run"])


class Run(RunFolder):
    """A task one can watch, wait for and cancel, from any notebook, any day."""

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """Take hold of the task in a run folder."""
        return cls(run.path)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the task has ended, well or not; raises `TimeoutError` after `timeout` s.

        Outside of notebooks a line now and then on standard error says how far it is.
        """
        stop = threading.Event()
        timer = threading.Timer(threading.TIMEOUT_MAX if timeout is None else timeout, stop.set)
        timer.start()
        try:
            last = self.last_event()
            file = sys.stdout if in_headless_notebook() else None if kernel() else sys.stderr
            show = now_and_then(self, file) if file else None
            with warn_when_lost([self]):
                for event in follow(self, after=max(0, last.seq - 1) if last else 0, stop=stop):
                    if show:
                        show(event)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{self._label} goes on. Take hold of it again with lab.task('{self.task_id[:8]}')."
            ) from None
        finally:
            timer.cancel()
        if not self.final:
            raise TimeoutError(f"{self._label} has not ended within {timeout:g} s: it goes on.")
        return self

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait and return the result.

        Raises `TaskFailed` with the sentence of the failure, `TaskCancelled`, or `TimeoutError`
        after `timeout` seconds.
        """
        self.wait(timeout)
        return self.raise_for_end() or {}

    def cancel(self) -> TaskStatus:
        """Stop the task and what follows it in its chain; one that waits is revoked at once."""
        cancel_run(self)
        return self.status()

    def __repr__(self) -> str:
        spec, now = self.spec, self.status()
        text = f"{spec.kind} {spec.machine_id} {self.task_id[:8]}: {state_of(now).word}"
        return f"<Run {text} {now.progress}%, {now.message}>"


# ---- starting tasks


def _with_options(kind: Kind) -> Callable[[Submit], Submit]:
    """Name the fields of a task's configuration in a function's signature, for help and Tab."""

    def named(function: Submit) -> Submit:
        own = [
            parameter
            for parameter in signature(function).parameters.values()
            if parameter.kind is not Parameter.VAR_KEYWORD
        ]
        options = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=field.get_default())
            for name, field in CONFIGS[kind].model_fields.items()
        ]
        function.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        return function

    return named


@_with_options("seed")
def seed(machine_id: str, **options: Any) -> Run:
    """Start the simulation of a machine's seed table; options are the fields of `SeedConfig`.

    Raises `UnknownMachine`, `BadParameter`, `ServiceUnreachable`.
    """
    return start(Machine(machine_id), {"seed": options})[0]


@_with_options("train")
def train(machine_id: str, **options: Any) -> Run:
    """Start a training; options are the fields of `TrainConfig`.

    Raises `UnknownMachine`, `NoSeedData`, `BadParameter`, `ServiceUnreachable`.
    """
    return start(Machine(machine_id), {"train": options})[0]


@_with_options("generate")
def generate(machine_id: str, report: bool = True, **options: Any) -> Run:
    """Start drawing train, val and test tables; options are the fields of `GenerateConfig`.

    The report on the train table follows as a task of its own, where the training has held
    something out for it (`report=False`: none does). Warns where reports say of all models not to
    use their rows.
    Raises `UnknownMachine`, `NoModel`, `BadParameter`, `ServiceUnreachable`.
    """
    return generate_and_judge(machine_id, report, **options)[0]


def generate_and_judge(machine_id: str, report: bool = True, **options: Any) -> list[Run]:
    """Start what `generate` does; returns the report's task too, where there is one."""
    return start(Machine(machine_id), {"generate": options, **_report(report)})


@_with_options("report")
def report(machine_id: str, **options: Any) -> Run:
    """Start the report on a machine's synthetic tables; options are the fields of `ReportConfig`.

    Raises `UnknownMachine`, `NoModel`, `BadParameter`, `ServiceUnreachable`.
    """
    return start(Machine(machine_id), {"report": options})[0]


def pipeline(
    machine_id: str,
    seed: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    generate: dict[str, Any] | None = None,
    report: bool = True,
    **options: Any,
) -> list[Run]:
    """Start seed, train, generate and report of a machine, chained on the cluster.

    The seed table is made where there is none, or where `seed` says how. `train` and `generate`
    hold the options of these; `epochs=` and others of a training may stand alone. A failure stops
    what follows, which says what it waited for. Raises what these raise, before anything starts.
    """
    training = {**options, **(train or {})}
    chain = {"seed": seed, "train": training, "generate": generate or {}, **_report(report)}
    return start(Machine(machine_id), chain)


def _report(wanted: bool) -> dict[Kind, dict[str, Any] | None]:
    return {"report": {}} if wanted else {}


def start(
    machine: Machine,
    wanted: Mapping[Kind, dict[str, Any] | None],
    furnish: Callable[[Path], Any] | None = None,
) -> list[Run]:
    """Check a chain, make its run folders and hand it to the cluster.

    `furnish` writes what a task is to work on into its folder, before anybody sees it as one.
    Raises what `prepare` raises, `TooMuchMemory`, `TooLittleDisk` and `ServiceUnreachable`.
    """
    specs = prepare(machine, wanted)
    settings = load_settings()
    client = _connect(settings)
    attached, new = ([], specs) if furnish else attach(specs, settings.home)
    workers = workers_of(client)
    refuse_unfit_workers(client, list(workers), settings)
    limits = [worker["memory_limit"] for worker in workers.values()]
    refuse_what_does_not_fit(machine, new, limits)
    refuse_what_no_disk_holds(machine, new, shutil.disk_usage(disk_of(settings.home)).free)
    chain = [Run.of(run) for run in attached]
    missing = lost(attached)
    known = [run for run in attached if not run.final and run not in missing]
    try:
        for spec in new:
            if furnish:
                furnish(runs_folder(settings.home) / spec.task_id)
            after = chain[-1].task_id if chain else None
            made = create_run(spec.model_copy(update={"after": after}), settings.home)
            chain.append(Run.of(made))
    except OSError as error:
        for spec in new:
            discard_run(spec.task_id, settings.home)
        raise GanLabError(f"Nothing was started. {sentence(error)}") from None
    hand_over(client, [*missing, *chain[len(attached) :]], settings, known[-1:])
    return chain


_greeted: set[str] = set()  # the connections that know what is lost


def _connect(settings: Settings) -> Client:
    """Return the connection to the cluster; a new one hears which runs nobody works on."""
    client = services.get_client(settings)
    if client.id not in _greeted:
        _greeted.add(client.id)
        warn_of_what_is_lost()
    return client


# ---- taking hold of tasks again


def task(task_id: str) -> Run:
    """Take hold of a task again, by its id or the beginning of it; raises `UnknownTask`."""
    return Run.of(open_run(task_id))


def get_task_status(task_id: str) -> TaskStatus:
    """Return where a task stands, from its folder and, where that is silent, from the cluster."""
    return statuses([open_run(task_id)])[0]


def tasks(most: int | None = None) -> pd.DataFrame:
    """Return one row per task, newest first; `most`: only so many."""
    import pandas as pd

    about, facts = ["kind", "machine_id"], ["epoch", "loss", "attempt", "created"]
    columns = ["task_id", *about, "status", "progress", "message", *facts]
    rows = [{**now.metadata, **now.model_dump()} for now in statuses(all_runs()[:most])]
    return pd.DataFrame(rows, columns=columns)
