"""Ask for work and take hold of it again: seed, train, generate, pipeline, and `Run`.

Everything is checked before anything starts. A task is a run folder first; then its key, which says
kind, machine and the beginning of its id, goes to the cluster, where it needs nobody who asked.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gan_lab.cluster import services
from gan_lab.cluster.estimate import refuse_what_does_not_fit
from gan_lab.cluster.queue import (
    cancel_run,
    hand_over,
    lost,
    say_what_is_lost,
    statuses,
    telling_when_lost,
)
from gan_lab.cluster.reuse import attach
from gan_lab.errors import BadParameter, NoModel
from gan_lab.schema import CONFIGS, GenerateConfig, Kind, TaskSpec, TaskStatus, configure
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.follow import follow
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, create_run, open_run

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client
from gan_lab.cluster.catalogue import check_has_seed, has_seed

FLEET = "GAN_LAB_FLEET_ID"  # set by a fleet for the notebooks it runs
Submit = TypeVar("Submit", bound=Callable[..., "Run"])


class Run(RunFolder):
    """A task one can watch, wait for and cancel, from any notebook, any day."""

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """Take hold of the task in a run folder."""
        return cls(run.path)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the task has ended, well or not; raises `TimeoutError` after `timeout` s."""
        from gan_lab.terminal import in_headless_notebook, now_and_then

        stop = threading.Event()
        timer = threading.Timer(timeout, stop.set) if timeout is not None else None
        if timer:
            timer.start()
        try:
            last = self.last_event()
            tell = now_and_then(self, sys.stdout) if in_headless_notebook() else None
            with telling_when_lost([self]):
                for event in follow(self, after=max(0, last.seq - 1) if last else 0, stop=stop):
                    if tell:
                        tell(event)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{self._label} goes on. Take hold of it again with lab.task('{self.task_id[:8]}')."
            ) from None
        finally:
            if timer:
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
        """Stop the task and what follows it in its chain; one that waits is revoked at once.

        One that runs stops at its next epoch or chunk, or its worker is restarted after a while.
        """
        cancel_run(self)
        return self.status()

    def __repr__(self) -> str:
        spec, now = self.spec, self.status()
        text = f"{spec.kind} {spec.machine_id} {self.task_id[:8]}: {now.status} {now.progress}%"
        return f"<Run {text}, {now.message}>"


# ---- tasks


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
    return _submit_chain([_check_seed(machine_id, options)])[0]


@_with_options("train")
def train(machine_id: str, reuse: bool = False, **options: Any) -> Run:
    """Start a training; options are the fields of `TrainConfig`.

    `reuse`: return a training that is done, of the same seed table and configuration.
    Raises `UnknownMachine`, `NoSeedData`, `BadParameter`, `ServiceUnreachable`.
    """
    spec = _spec("train", machine_id, options)
    check_has_seed(machine_id)
    return _submit_chain([spec], reuse)[0]


@_with_options("generate")
def generate(machine_id: str, reuse: bool = False, report: bool = True, **options: Any) -> Run:
    """Start drawing train, val and test tables; options are the fields of `GenerateConfig`.

    The report on the train table follows as a task of its own, where the training has held
    something out for it (`report=False`: none does). Warns where reports say of all models not to
    use their rows.
    Raises `UnknownMachine`, `NoModel`, `BadParameter`, `ServiceUnreachable`.
    """
    specs = [_check_generate(machine_id, options)]
    report &= bool(specs[0].config["train"])
    if report and open_run(specs[0].config["model_task_id"]).spec.config.get("holdout"):
        specs.append(_spec("report", machine_id, {}))
    return _submit_chain(specs, reuse)[0]


@_with_options("report")
def report(machine_id: str, **options: Any) -> Run:
    """Start the report on a machine's synthetic tables; options are the fields of `ReportConfig`.

    Raises `UnknownMachine`, `NoModel`, `BadParameter`, `ServiceUnreachable`.
    """
    from gan_lab.workspace.tables import manifest

    check_has_seed(machine_id)
    if manifest(machine_id) is None:
        raise NoModel(
            f"No synthetic tables of {machine_id!r} to report on: run "
            f"`gan-lab generate {machine_id}` first."
        )
    return _submit_chain([_spec("report", machine_id, options)])[0]


def pipeline(
    machine_id: str,
    seed: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    generate: dict[str, Any] | None = None,
    report: bool = True,
    reuse: bool = False,
    **options: Any,
) -> list[Run]:
    """Start seed, train, generate and report of a machine, chained on the cluster.

    The seed table is made where there is none, or where `seed` says how. `train` and `generate`
    hold the options of these; `epochs=` and others of a training may stand alone. A failure stops
    what follows, which says what it waited for. Raises what these raise, before anything starts.
    """
    specs = []
    if seed is not None or not has_seed(machine_id):
        specs.append(_check_seed(machine_id, seed or {}))
    training = _spec("train", machine_id, {**options, **(train or {})})
    specs += [training, _spec("generate", machine_id, generate or {}, training.task_id)]
    if report and training.config["holdout"] and specs[-1].config["train"]:
        specs.append(_spec("report", machine_id, {}))
    return _submit_chain(specs, reuse)


def task(task_id: str) -> Run:
    """Take hold of a task again, by its id or the beginning of it; raises `UnknownTask`."""
    return Run.of(open_run(task_id))


def get_task_status(task_id: str) -> TaskStatus:
    """Return where a task stands, from its folder and, where that is silent, from the cluster."""
    return statuses([open_run(task_id)])[0]


def tasks(most: int | None = None) -> pd.DataFrame:
    """Return one row per task, newest first; `most`: only so many."""
    import pandas as pd

    rows = []
    for now in statuses(all_runs()[:most]):
        about = {"task_id": now.task_id} | {k: now.metadata[k] for k in ("kind", "machine_id")}
        where = {name: getattr(now, name) for name in ("status", "progress", "message")}
        facts = {name: now.metadata[name] for name in ("epoch", "loss", "attempt", "created")}
        rows.append(about | where | facts)
    columns = ["task_id", "kind", "machine_id", "status", "progress", "message"]
    return pd.DataFrame(rows, columns=[*columns, "epoch", "loss", "attempt", "created"])


# ---- checks before anything starts


def _spec(
    kind: Kind, machine_id: str, options: dict[str, Any], model_task_id: str | None = None
) -> TaskSpec:
    """Return the request; raises `UnknownMachine`, `BadProfile` or `BadParameter`."""
    from gan_lab.cluster.provenance import package_versions

    load_profile(machine_id)
    if model_task_id:
        options = {"model_task_id": model_task_id, **options}
    return TaskSpec(
        task_id=str(uuid.uuid4()),
        kind=kind,
        machine_id=machine_id,
        config=configure(kind, options).model_dump(mode="json"),
        after=None,
        fleet_id=os.environ.get(FLEET),
        versions=package_versions(),
    )


def _check_seed(machine_id: str, options: dict[str, Any]) -> TaskSpec:
    spec, profile = _spec("seed", machine_id, options), load_profile(machine_id)
    if not profile.simulated:
        raise BadParameter(
            f"{machine_id} cannot be simulated: its profile has no states, life and failure modes. "
            f"Train on the table that was imported: `gan-lab train {machine_id}`."
        )
    for part, known in (("failure_modes", profile.failure_modes), ("states", profile.states)):
        names = list(known)
        for name in spec.config[part] or {}:
            if name not in names:
                raise BadParameter(
                    f"{machine_id} has no {part.replace('_', ' ')[:-1]} {name!r}. "
                    f"It has {', '.join(names)}."
                )
    return spec


def _check_generate(machine_id: str, options: dict[str, Any]) -> TaskSpec:
    from gan_lab.cluster.models import check_request, training_run, verdict_levels

    spec = _spec("generate", machine_id, options)
    source = training_run(machine_id, spec.config["model_task_id"])
    unnamed = spec.config["model_task_id"] is None
    if unnamed and verdict_levels(machine_id).get(source.task_id) == "bad":
        warnings.warn(
            f"The report on training {source.task_id[:8]} of {machine_id} says not to use its "
            "rows, and there is no better model: see why with lab.report, or train again.",
            stacklevel=3,
        )
    wanted = GenerateConfig.model_validate(spec.config)
    check_request(source, wanted, load_profile(machine_id).roles)
    config = {**spec.config, "model_task_id": source.task_id}
    return spec.model_copy(update={"config": config})


# ---- to the cluster


def _submit_chain(specs: Sequence[TaskSpec], reuse: bool = False) -> list[Run]:
    """Make the run folders and hand the chain to the cluster.

    Raises `ServiceUnreachable` and `TooMuchMemory` before it makes anything.
    """
    settings = load_settings()
    client = _connect(settings)
    attached, new = attach(specs, settings.home, reuse)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    refuse_what_does_not_fit(new, [worker["memory_limit"] for worker in workers])
    chain = [Run.of(run) for run in attached]
    missing = lost(attached)
    known = [run for run in attached if not run.final and run not in missing]
    for spec in new:
        after = chain[-1].task_id if chain else None
        chain.append(Run.of(create_run(spec.model_copy(update={"after": after}), settings.home)))
    hand_over(client, [*missing, *chain[len(attached) :]], settings, known[-1:])
    return chain


_greeted: set[str] = set()  # the connections that were told what is lost


def _connect(settings: Settings) -> Client:
    """Return the connection to the cluster; a new one hears which runs nobody works on."""
    client = services.get_client(settings)
    if client.id not in _greeted:
        _greeted.add(client.id)
        say_what_is_lost()
    return client
