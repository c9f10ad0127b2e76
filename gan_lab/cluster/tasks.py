"""What a worker executes: each task is a body for the one recipe of `gan_lab.cluster.recipe`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gan_lab.cluster.models import load_model, model_class, training_run, verdict_levels
from gan_lab.cluster.progress import Steps, TrainingProgress
from gan_lab.cluster.provenance import record_environment
from gan_lab.cluster.recipe import Outcome, Work, perform
from gan_lab.errors import BadTable
from gan_lab.schema import (
    GenerateConfig,
    GenerateResult,
    ReportConfig,
    ReportResult,
    Roles,
    SeedConfig,
    SeedResult,
    TrainConfig,
    TrainResult,
)
from gan_lab.settings import Settings
from gan_lab.workspace import run_folder
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import RunFolder

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


TASKS: dict[str, Callable[..., Outcome]] = {
    "seed": generate_seed_data_task,
    "train": train_tvae_task,
    "generate": generate_data_task,
    "report": report_task,
}


# ---- seed


def _seed(work: Work) -> dict[str, Any]:
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.tables import write_seed

    config = cast(SeedConfig, work.config)
    work.say("initializing", 0, 100, "Reading the profile")
    profile = load_profile(work.spec.machine_id)
    record_environment(work)

    on_progress = Steps(work)
    table = simulate(profile, config, on_progress)
    work.check()
    work.say("writing", 99, 100, f"Writing {len(table):,} rows")
    path = write_seed(work.spec.machine_id, table)
    return SeedResult(
        machine_id=work.spec.machine_id,
        samples_generated=len(table),
        file_path=str(path),
        file_size_mb=_megabytes(path),
    ).model_dump()


# ---- train


def _train(work: Work) -> dict[str, Any]:
    from gan_lab.workspace import tables

    started, config = time.perf_counter(), cast(TrainConfig, work.config)
    work.say("initializing", 0, config.epochs, "Reading the seed table")
    roles = load_profile(work.spec.machine_id).roles
    table = tables.read_seed(work.spec.machine_id)
    record_environment(work)
    table, _ = tables.split_holdout(table, roles, config.holdout, config.seed)
    kind = config.kind(roles)
    work.say("initializing", 0, config.epochs, f"Learning {len(table):,} rows ({kind})")
    progress = TrainingProgress(work, config.epochs)
    model = model_class(kind).fit(
        table,
        roles,
        config,
        on_epoch=progress.on_epoch,
        resume=progress.resume(),
        on_checkpoint=progress.on_checkpoint,
    )
    work.check()
    epochs, loss = progress.last.epoch, progress.last.loss
    facts = {"epoch": epochs, "loss": loss}
    notes = model.notes() if kind == "sequential" else []  # regimes and drivers that were found
    work.say("writing", epochs, config.epochs, " ".join(["Saving the model.", *notes]), **facts)
    model.save(work.run.path / run_folder.MODEL)
    work.run.checkpoints.drop()
    return TrainResult(
        machine_id=work.spec.machine_id,
        model_path=str(work.run.path / run_folder.MODEL),
        epochs_completed=epochs,
        training_time_seconds=round(progress.seconds_before + time.perf_counter() - started, 3),
        final_loss=loss,
    ).model_dump()


# ---- generate


def _generate(work: Work) -> dict[str, Any]:
    from gan_lab.workspace.tables import SplitWriter, synthetic_folder

    started, config = time.perf_counter(), cast(GenerateConfig, work.config)
    amounts = lives_of_splits(config) or config.splits
    total = sum(amounts.values())
    machine_id = work.spec.machine_id
    source = training_run(machine_id, config.model_task_id)
    bad = verdict_levels(machine_id).get(source.task_id) == "bad"
    doubt = ", whose report says: do not use its rows" if bad else ""
    work.say("initializing", 0, total, f"Loading the model of {source.task_id[:8]}{doubt}")
    model = load_model(source)
    record_environment(work, model_task_id=source.task_id)
    roles = load_profile(machine_id).roles
    with SplitWriter(machine_id, work.run.task_id, source.task_id, config.conditions) as writer:
        lives = _write_splits(work, writer, _draw(model, config, roles), total, roles)
        work.say("writing", total, total, "Moving the tables into place")
    folder = synthetic_folder(machine_id)
    files = {name: folder / f"{name}.parquet" for name in writer.rows}
    statistics = {
        name: {"rows": writer.rows[name], "file_size_mb": _megabytes(path)}
        | ({"lives": lives[name]} if roles.life else {})
        for name, path in files.items()
    }
    return GenerateResult(
        machine_id=machine_id,
        files_generated=[str(path) for path in files.values()],
        file_statistics=statistics,
        generation_time_seconds=round(time.perf_counter() - started, 3),
    ).model_dump()


def lives_of_splits(config: GenerateConfig) -> dict[str, int] | None:
    """Return the lives of each split, in proportion to its rows; None where rows count."""
    if config.lives is None:
        return None
    wanted, total = config.splits, sum(config.splits.values())
    shares = {name: max(1, round(config.lives * rows / total)) for name, rows in wanted.items()}
    largest = max(shares, key=lambda name: shares[name])
    shares[largest] = max(1, shares[largest] + config.lives - sum(shares.values()))
    return shares


def _draw(model: Any, config: GenerateConfig, roles: Roles) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (split, chunk): each split from random numbers and lives of its own."""
    lives, first_life = lives_of_splits(config), 1
    for number, (split, rows) in enumerate(config.splits.items()):
        amount = {"lives": lives[split]} if lives else {"rows": rows}
        seed = (config.seed * 3 + number) % 2**31
        for chunk in model.sample(**amount, seed=seed, first_life=first_life, conditions=config):
            if roles.life is not None and roles.life in chunk:
                first_life += int(chunk[roles.life].nunique())
            yield split, chunk


def _write_splits(
    work: Work, writer: Any, chunks: Iterator[tuple[str, pd.DataFrame]], total: int, roles: Roles
) -> dict[str, int]:
    """Write the chunks as they are drawn and say how far it is; returns the lives of each split."""
    config, lives = cast(GenerateConfig, work.config), dict.fromkeys(config_splits(work), 0)
    done, said_at = 0, 0.0
    work.say("sampling", 0, total, f"Drawing {total:,} {'lives' if config.lives else 'rows'}")
    for split, chunk in chunks:
        work.check()
        writer.write(split, chunk)
        found = int(chunk[roles.life].nunique()) if roles.life and roles.life in chunk else 0
        lives[split] += found
        done += found if config.lives else len(chunk)
        if time.monotonic() - said_at >= work.settings.event_every_s / 2:
            said_at = time.monotonic()
            shown = min(done, total)
            work.say("sampling", shown, total, f"{split}: {shown:,} of {total:,}")
    return lives


def config_splits(work: Work) -> list[str]:
    """Return the names of the splits a generation writes."""
    return list(cast(GenerateConfig, work.config).splits)


# ---- report


def _report(work: Work) -> dict[str, Any]:
    from gan_lab.synth.report import evaluate as quality
    from gan_lab.synth.report.page import render_html
    from gan_lab.workspace import tables

    started, config = time.perf_counter(), cast(ReportConfig, work.config)
    machine_id = work.spec.machine_id
    work.say("initializing", 0, 100, "Reading the tables")
    profile, trained = load_profile(machine_id), _training_of_tables(machine_id)
    options = TrainConfig.model_validate(trained.spec.config)
    seed = tables.read_seed(machine_id)
    sha256 = tables.table_sha256(tables.seed_path(machine_id))
    if trained.environment().get("seed_sha256") != sha256:
        raise BadTable(
            f"The seed table of {machine_id} is another one than training {trained.task_id[:8]} "
            "learned from, so nobody knows which lives it has not seen: train and generate again."
        )
    train, holdout = tables.split_holdout(seed, profile.roles, options.holdout, options.seed)
    asked = _conditions_of_tables(machine_id)
    record_environment(work, model_task_id=trained.task_id, conditions=asked)

    synthetic = tables.read_synthetic(machine_id)
    report = quality.evaluate(
        synthetic, train, holdout, profile.roles, profile, config.seed, Steps(work), asked,
    )  # fmt: skip
    work.check()
    work.say("writing", 99, 100, "Writing the report")
    path = work.run.path / run_folder.REPORT_JSON
    write_beside(path, report.model_dump_json(indent=2))
    write_beside(work.run.path / run_folder.REPORT_HTML, render_html(report))
    return ReportResult(
        machine_id=machine_id,
        level=report.verdict.level,
        verdict=report.verdict.headline,
        report_path=str(path),
        **report.figures,
        report_time_seconds=round(time.perf_counter() - started, 3),
    ).model_dump()


def _training_of_tables(machine_id: str) -> RunFolder:
    """Return the training from which the machine's present synthetic tables were drawn."""
    from gan_lab.workspace import tables

    known = tables.manifest(machine_id)
    return training_run(machine_id, known["model"] if known else None)


def _conditions_of_tables(machine_id: str) -> str:
    """Return the conditions that the present synthetic tables were drawn under, in words."""
    from gan_lab.workspace import tables

    asked = (tables.manifest(machine_id) or {}).get("conditions", {})
    return ", ".join(f"{name} {value}" for name, value in asked.items())


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / MEGABYTE, 3)
