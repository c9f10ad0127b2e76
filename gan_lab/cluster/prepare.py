"""What is checked before anything starts: machine, configuration, seed table, model."""

from __future__ import annotations

import os
import statistics
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.models import check_request, training_run, verdict_levels
from gan_lab.cluster.provenance import package_versions
from gan_lab.errors import BadParameter, NoModel
from gan_lab.schema import (
    Config,
    GenerateConfig,
    Kind,
    SeedConfig,
    State,
    TaskSpec,
    TrainConfig,
    configure,
)
from gan_lab.workspace.fleet_folder import fleet_runs
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import open_run

FLEET = "GAN_LAB_FLEET_ID"  # set by a fleet for the notebooks it runs
OF_NETWORKS = (  # options
    *("epochs", "max_steps", "embedding_dim", "compress_dims", "decompress_dims", "l2scale"),
    *("loss_factor", "learning_rate", "batch_size", "validation", "device"),
)
MIN_LIVES, MIN_ROWS = 4, 10  # below which a training of lives warns


def prepare(machine: Machine, wanted: Mapping[Kind, dict[str, Any] | None]) -> list[TaskSpec]:
    """Return the requests of a chain: kinds in their order, each with its options.

    A task may count on what those before it in the chain leave: a training on the seed table that
    is made for it. A seed table without options (None) is made only where there is none. A report
    behind a generation is left out where its training held nothing out.
    Raises `BadParameter`, `NoSeedData`, `BadTable` or `NoModel`.
    """
    chain: dict[Kind, TaskSpec] = {}
    for kind, options in wanted.items():
        if options is None and machine.seed_path.exists():
            continue
        config = configure(kind, options or {})
        if isinstance(config, SeedConfig):
            _check_simulation(machine, config)
        elif isinstance(config, GenerateConfig):
            config.model_task_id = _model_to_draw_from(machine, config, chain.get("train"))
        elif kind == "train":
            if "seed" not in chain:
                machine.check_has_seed()
            if cast(TrainConfig, config).kind(machine.profile.roles) == "tabular":
                _warn_of_trees(machine, cast(TrainConfig, config), options or {})
            elif "seed" not in chain:
                _warn_of_lives(machine)
        elif kind == "report" and "generate" not in chain:
            _check_has_tables(machine)
        elif kind == "report" and not _leaves_something_to_report(chain):
            continue
        chain[kind] = _spec(kind, machine.machine_id, config)
    return list(chain.values())


def _warn_of_trees(machine: Machine, config: TrainConfig, options: dict[str, Any]) -> None:
    """Say at once what trees have no use for."""
    unused = [name for name in OF_NETWORKS if name in options]
    if unused and config.decoder == "trees":
        warnings.warn(
            f"{machine.machine_id} is learned by trees, which have no {' and no '.join(unused)}: "
            "leave that out, or train a network (decoder 'network').",
            stacklevel=6,
        )


def _warn_of_lives(machine: Machine) -> None:
    """Say at once what so few lives, or such short ones, cannot teach."""
    from gan_lab.workspace.tables import rows_of_lives

    rows = rows_of_lives(machine.machine_id, machine.profile.roles.life)
    usual = statistics.median(rows)
    if len(rows) < MIN_LIVES:
        doubt = (
            f"{len(rows)} {'life' if len(rows) == 1 else 'lives'}: how machines differ cannot be "
            f"learned from so few. What is drawn repeats them with other noise; bring {MIN_LIVES} "
            "or more."
        )
    elif usual < MIN_ROWS:
        doubt = (
            f"lives of {usual:.0f} rows: wear can hardly be seen in so few. Bring longer lives, or "
            'draw rows without order (model="tabular").'
        )
    else:
        return
    warnings.warn(f"{machine.machine_id} has {doubt}", stacklevel=6)


def _spec(kind: Kind, machine_id: str, config: Config) -> TaskSpec:
    return TaskSpec(
        task_id=str(uuid.uuid4()),
        kind=kind,
        machine_id=machine_id,
        config=config.model_dump(mode="json"),
        fleet_id=os.environ.get(FLEET),
        versions=package_versions(),
    )


def _check_simulation(machine: Machine, config: SeedConfig) -> None:
    profile, machine_id = machine.profile, machine.machine_id
    if not profile.simulated:
        raise BadParameter(
            f"{machine_id} cannot be simulated: its profile has no states, life and failure modes. "
            f"Train on the table that was imported: `gan-lab train {machine_id}`."
        )
    for name in config.failure_modes or {}:
        if name not in profile.failure_modes:
            known = ", ".join(profile.failure_modes)
            raise BadParameter(f"{machine_id} has no failure mode {name!r}. It has {known}.")


def _model_to_draw_from(machine: Machine, config: GenerateConfig, training: TaskSpec | None) -> str:
    """Return the id of the training; the one before it in the chain is still to be made."""
    if training is not None and config.model_task_id is None:
        return training.task_id
    source = training_run(machine.machine_id, config.model_task_id)
    levels = verdict_levels(machine.machine_id)
    if config.model_task_id is None and levels.get(source.task_id) == "bad":
        warnings.warn(
            f"The report on training {source.task_id[:8]} of {machine.machine_id} says not to use "
            "its rows, and there is no better model: see why with lab.report, or train again.",
            stacklevel=6,
        )
    check_request(source, config, machine.profile.roles)
    return source.task_id


def _check_has_tables(machine: Machine) -> None:
    machine.check_has_seed()
    if machine.manifest is None:
        raise NoModel(
            f"No synthetic tables of {machine.machine_id!r} to report on: run "
            f"`gan-lab generate {machine.machine_id}` first."
        )


def _leaves_something_to_report(chain: Mapping[Kind, TaskSpec]) -> bool:
    """Whether a train table is drawn, from a training that holds something out to judge it by."""
    drawn = chain["generate"].config
    known = {spec.task_id: spec for spec in chain.values()}
    training = known.get(drawn["model_task_id"]) or open_run(drawn["model_task_id"]).spec
    return bool(drawn["train"] and training.config.get("holdout"))


# ---- a fleet's notebook, executed again, takes up the tasks that it had asked for


def attach(specs: Sequence[TaskSpec], home: Path) -> tuple[list[RunFolder], list[TaskSpec]]:
    """Return the runs of a fleet that answer the first requests of a chain, and the other requests.

    A run answers a request of its kind, machine and configuration, whether it is done, at work or
    waiting, not if it has failed or was cancelled.
    """
    if specs[0].fleet_id is None:
        return [], list(specs)
    earlier = fleet_runs(specs[0].fleet_id, home).get(specs[0].machine_id, [])
    attached: list[RunFolder] = []
    names: dict[str | None, str] = {}  # what the requests call a task: what it is
    for spec in specs:
        named = _named(spec, names)
        found = next((run for run in reversed(earlier) if _answers(run, named)), None)
        if found is None:
            break
        names[spec.task_id] = found.task_id
        attached.append(found)
    return attached, [_named(spec, names) for spec in specs[len(attached) :]]


def _named(spec: TaskSpec, names: dict[str | None, str]) -> TaskSpec:
    """Return a request that calls the training it draws from by the name it has."""
    model = spec.config.get("model_task_id")
    config = {**spec.config, "model_task_id": names[model]} if model in names else spec.config
    return spec.model_copy(update={"config": config})


def _answers(run: RunFolder, spec: TaskSpec) -> bool:
    same = (run.spec.kind, run.spec.config) == (spec.kind, spec.config)
    return same and run.status().state not in (State.FAILURE, State.REVOKED)
