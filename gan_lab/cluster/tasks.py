"""What a worker executes: each task is a body for the one recipe of `gan_lab.cluster.recipe`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gan_lab.cluster.models import (
    load_lives_model,
    load_model,
    model_class,
    training_run,
    verdict_levels,
)
from gan_lab.cluster.progress import Steps, TrainingProgress
from gan_lab.cluster.recipe import perform
from gan_lab.cluster.work import Outcome, Work
from gan_lab.schema import (
    GenerateConfig,
    PrognoseConfig,
    ReportConfig,
    ReportResult,
    Roles,
    SeedConfig,
    TrainConfig,
)
from gan_lab.settings import Settings
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.profiles import Profile, load_profile
from gan_lab.workspace.run_folder import MODEL, PROGNOSIS, REPORT_HTML, REPORT_JSON, RUNNING

if TYPE_CHECKING:
    import pandas as pd


MEGABYTE = 1e6


def generate_seed_data_task(task_id: str, settings: Settings, *waits_for: Outcome) -> Outcome:
    """Simulate a machine's seed table from its profile; returns the outcome, never raises."""
    return perform(task_id, settings, waits_for, _seed)


def train_tvae_task(task_id: str, settings: Settings, *waits_for: Outcome) -> Outcome:
    """Train a TVAE on a machine's seed table; returns the outcome, never raises."""
    return perform(task_id, settings, waits_for, _train)


def generate_data_task(task_id: str, settings: Settings, *waits_for: Outcome) -> Outcome:
    """Draw a machine's synthetic tables from its model; returns the outcome, never raises."""
    return perform(task_id, settings, waits_for, _generate)


def report_task(task_id: str, settings: Settings, *waits_for: Outcome) -> Outcome:
    """Judge a machine's synthetic tables against its seed; returns the outcome, never raises."""
    return perform(task_id, settings, waits_for, _report)


def prognose_task(task_id: str, settings: Settings, *waits_for: Outcome) -> Outcome:
    """Answer how long running units will last; returns the outcome, never raises."""
    return perform(task_id, settings, waits_for, _prognose)


TASKS: dict[str, Callable[..., Outcome]] = {
    "seed": generate_seed_data_task,
    "train": train_tvae_task,
    "generate": generate_data_task,
    "report": report_task,
    "prognose": prognose_task,
}


def _seed(work: Work) -> dict[str, Any]:
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.tables import write_seed

    config, machine_id = cast(SeedConfig, work.config), work.spec.machine_id
    work.say("initializing", 0, 100, "Reading the profile")
    profile = load_profile(machine_id)
    work.record_environment()
    table = simulate(profile, config, Steps(work))
    work.check()
    work.say("writing", 99, 100, f"Writing {len(table):,} rows")
    path = write_seed(machine_id, table, {"machine_id": machine_id, "simulated": True})
    return {
        "machine_id": machine_id,
        "samples_generated": len(table),
        "file_path": str(path),
        "file_size_mb": _megabytes(path),
    }


def _train(work: Work) -> dict[str, Any]:
    from gan_lab.workspace import tables

    started, config = time.perf_counter(), cast(TrainConfig, work.config)
    machine_id, path = work.spec.machine_id, work.run.path / MODEL
    work.say("initializing", 0, config.epochs, "Reading the seed table")
    roles = load_profile(machine_id).roles
    table = tables.read_seed(machine_id)
    work.record_environment()
    table, _ = tables.split_holdout(table, roles, config.holdout, config.seed)
    kind = config.kind(roles)
    work.say("initializing", 0, config.epochs, f"Learning {len(table):,} rows ({kind})")
    progress = TrainingProgress(work, config.epochs)
    stoppable: dict[str, Any] = {"on_column": progress.on_column}
    if kind == "sequential":
        stoppable = {"check": progress.check_prognosis}
    model = model_class(kind).fit(
        table,
        roles,
        config,
        on_epoch=progress.on_epoch,
        resume=progress.resume(),
        on_checkpoint=progress.on_checkpoint,
        **stoppable,
    )
    work.check()
    last = progress.last
    epochs, loss = (last.epoch, last.loss) if last else (0, None)
    notes = model.notes() if kind == "sequential" else []  # regimes and drivers that were found
    message = " ".join(["Saving the model.", *notes])
    done = (epochs, progress.epochs) if last else (1, 1)
    work.say("writing", *done, message, epoch=epochs or None, loss=loss)
    model.save(path)
    work.run.checkpoints.drop()
    return {
        "machine_id": machine_id,
        "model_path": str(path),
        "epochs_completed": epochs,
        "training_time_seconds": round(progress.seconds_before + time.perf_counter() - started, 3),
        "final_loss": loss,
    }


def _generate(work: Work) -> dict[str, Any]:
    from gan_lab.workspace.tables import SplitWriter, synthetic_folder

    started, config = time.perf_counter(), cast(GenerateConfig, work.config)
    machine_id, total = work.spec.machine_id, config.lives or sum(config.splits.values())
    source = training_run(machine_id, config.model_task_id)
    bad = verdict_levels(machine_id).get(source.task_id) == "bad"
    doubt = ", whose report says: do not use its rows" if bad else ""
    work.say("initializing", 0, total, f"Loading the model of {source.task_id[:8]}{doubt}")
    model = load_model(source)
    work.record_environment(model_task_id=source.task_id)
    profile = load_profile(machine_id)
    steps, lives = Steps(work), Counter[str]()
    with SplitWriter(machine_id, work.run.task_id, source.task_id, config.asked) as writer:
        work.say("sampling", 0, total, f"Drawing {total:,} {'lives' if config.lives else 'rows'}")
        for split, chunk in draw_splits(model, config, profile):
            work.check()
            writer.write(split, chunk)
            lives[split] += _lives_in(chunk, profile.roles)
            drawn = min(total, sum((lives if config.lives else writer.rows).values()))
            steps.say(drawn, total, f"{split}: {drawn:,} of {total:,}")
        work.say("writing", total, total, "Moving the tables into place")
    folder = synthetic_folder(machine_id)
    files = {name: folder / f"{name}.parquet" for name in writer.rows}
    statistics = {
        name: {"rows": writer.rows[name], "file_size_mb": _megabytes(path)}
        | ({"lives": lives[name]} if profile.roles.life else {})
        for name, path in files.items()
    }
    return {
        "machine_id": machine_id,
        "files_generated": [str(path) for path in files.values()],
        "file_statistics": statistics,
        "generation_time_seconds": round(time.perf_counter() - started, 3),
    }


def draw_splits(
    model: Any, config: GenerateConfig, profile: Profile
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (split, chunk): each split from random numbers and lives of its own, with the relations
    of the machine's columns but where a condition says otherwise."""
    from gan_lab.synth.importing.relations import hold

    lives, first_life = config.lives_of_splits, 1
    for number, (split, rows) in enumerate(config.splits.items()):
        amount = {"lives": lives[split]} if lives else {"rows": rows}
        seed = (config.seed * 3 + number) % 2**31
        for chunk in model.sample(**amount, seed=seed, first_life=first_life, conditions=config):
            first_life += _lives_in(chunk, profile.roles)
            hold(chunk, profile.relations, config.conditions or ())
            yield split, chunk


def _lives_in(chunk: pd.DataFrame, roles: Roles) -> int:
    return int(chunk[roles.life].nunique()) if roles.life and roles.life in chunk else 0


def _report(work: Work) -> dict[str, Any]:
    from gan_lab.cluster.export import seen_and_held_out
    from gan_lab.cluster.held_out import judge_held_out
    from gan_lab.synth.report.evaluate import evaluate
    from gan_lab.synth.report.page import render_html
    from gan_lab.workspace import tables

    started, config = time.perf_counter(), cast(ReportConfig, work.config)
    machine_id, path = work.spec.machine_id, work.run.path / REPORT_JSON
    work.say("initializing", 0, 100, "Reading the tables")
    profile, drawn = load_profile(machine_id), tables.manifest(machine_id) or {}
    trained, train, holdout = seen_and_held_out(machine_id)
    conditions = tables.conditions_in_words(drawn)
    work.record_environment(model_task_id=trained.task_id, conditions=conditions)
    synthetic, model = tables.read_synthetic(machine_id), load_model(trained)
    told = judge_held_out(model, holdout) if hasattr(model, "prognose") else None
    report = evaluate(
        synthetic, train, holdout, profile.roles, profile, config.seed, Steps(work), conditions,
        told,
    )  # fmt: skip
    work.check()
    work.say("writing", 99, 100, "Writing the report")
    write_beside(path, report.model_dump_json(indent=2))
    write_beside(work.run.path / REPORT_HTML, render_html(report))
    return ReportResult(
        machine_id=machine_id,
        level=report.verdict.level,
        verdict=report.verdict.headline,
        report_path=str(work.run.path / REPORT_HTML),
        **report.figures,
        report_time_seconds=round(time.perf_counter() - started, 3),
    ).model_dump()


def _prognose(work: Work) -> dict[str, Any]:
    from gan_lab.workspace.tables import read_parquet, write_table

    started, config = time.perf_counter(), cast(PrognoseConfig, work.config)
    work.say("initializing", 0, 100, "Reading the units")
    source = training_run(work.spec.machine_id, config.model_task_id)
    running = read_parquet(work.run.path / RUNNING)
    work.record_environment(model_task_id=source.task_id)
    answer = load_lives_model(source).prognose(running, Steps(work))
    work.check()
    path = work.run.path / PROGNOSIS
    work.say("writing", 99, 100, f"Writing the answer for {len(answer):,} units")
    write_table(path, answer.to_frame().reset_index(names="unit"))
    return {
        "machine_id": work.spec.machine_id,
        "units": len(answer),
        "file_path": str(path),
        "prognosis_time_seconds": round(time.perf_counter() - started, 3),
    }


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / MEGABYTE, 3)
