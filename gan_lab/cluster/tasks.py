"""What a worker executes: each task is a body for the one recipe of `gan_lab.cluster.recipe`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gan_lab import runs
from gan_lab.cluster.recipe import Outcome, Work, perform
from gan_lab.errors import BadTable, NoModel
from gan_lab.files import write_beside
from gan_lab.machines import load_profile
from gan_lab.runs import RunFolder, done_runs, open_run
from gan_lab.schema import (
    Epoch,
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

MODELS = {
    "tabular": "gan_lab.synth.tvae:TabularTVAE",
    "sequential": "gan_lab.synth.lives:SequentialTVAE",
}
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
    from gan_lab.synth.seed import simulate
    from gan_lab.synth.tables import write_seed

    config = cast(SeedConfig, work.config)
    work.say("initializing", 0, 100, "Reading the profile")
    profile = load_profile(work.spec.machine_id)
    _record_environment(work)

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


class Steps:
    """Says, now and then, how far a body of many small steps is; stops it when it is to stop."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._said_at = float("-inf")

    def __call__(self, share: float, what: str) -> None:
        """Say that this share is done and what comes next."""
        self.work.check()
        if time.monotonic() - self._said_at >= self.work.settings.event_every_s / 2:
            self._said_at = time.monotonic()
            self.work.say("sampling", int(100 * share), 100, what)


# ---- train


def _train(work: Work) -> dict[str, Any]:
    from gan_lab.synth import tables

    started, config = time.perf_counter(), cast(TrainConfig, work.config)
    work.say("initializing", 0, config.epochs, "Reading the seed table")
    roles = load_profile(work.spec.machine_id).roles
    table = tables.read_seed(work.spec.machine_id)
    _record_environment(work)
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
    model.save(work.run.path / runs.MODEL)
    work.run.drop_checkpoints()
    return TrainResult(
        machine_id=work.spec.machine_id,
        model_path=str(work.run.path / runs.MODEL),
        epochs_completed=epochs,
        training_time_seconds=round(progress.seconds_before + time.perf_counter() - started, 3),
        final_loss=loss,
    ).model_dump()


def model_class(kind: str) -> Any:
    """Return the class that learns and draws this kind of model; imports torch."""
    module, name = MODELS[kind].split(":")
    return getattr(import_module(module), name)


class TrainingProgress:
    """Records every epoch, says some of them, saves checkpoints, and knows where to go on."""

    def __init__(self, work: Work, epochs: int) -> None:
        self.work, self.epochs = work, epochs
        self.last: Epoch
        self.seconds_before = 0.0
        self._said_at = self._saved_at = time.monotonic()
        self._saved_epoch = self._first = 0

    def resume(self) -> bytes | None:
        """Return the state to go on from, the loss history cut to it; None: from the beginning."""
        from gan_lab.synth.modelfile import readable

        found = self.work.run.load_checkpoint()
        if found and not readable(found[1]):
            text = "The checkpoint is of another version of gan_lab: beginning anew"
            self.work.say("initializing", 0, self.epochs, text)
            found = None
        self._saved_epoch = self._first = found[0] if found else 0
        self.work.run.keep_losses(self._first)
        self.work.run.drop_checkpoints(keep=self._first)  # a damaged one would outlive newer ones
        if found is None:
            return None
        history = self.work.run.losses()
        self.seconds_before = float(history["seconds"].sum())
        last = history.iloc[-1].to_dict()
        self.last = Epoch(**{**last, "epoch": int(last["epoch"]), "epochs": self.epochs})
        text = f"Going on from epoch {self._first}"
        self.work.say("training", self._first, self.epochs, text, epoch=self._first)
        return found[1]

    def on_epoch(self, epoch: Epoch) -> bool:
        """Record an epoch; True: stop."""
        self.work.hold()
        self.work.run.append_epoch(epoch)
        self.last = epoch
        if self._due(epoch):
            self._said_at = time.monotonic()
            self._say(epoch)
        return self.work.stop.is_set() or self.work.run.cancelling

    def _due(self, epoch: Epoch) -> bool:
        settings = self.work.settings
        return (
            epoch.epoch in (self._first + 1, self.epochs)
            or epoch.epoch % settings.event_every_epochs == 0
            or time.monotonic() - self._said_at >= settings.event_every_s
        )

    def _say(self, epoch: Epoch) -> None:
        text = f"Epoch {epoch.epoch}/{self.epochs}, Loss: {epoch.loss:.4f}"
        self.work.say(
            "training",
            epoch.epoch,
            self.epochs,
            text,
            epoch=epoch.epoch,
            loss=epoch.loss,
            validation=epoch.validation,
            rows_per_second=epoch.rows_per_second,
        )

    def on_checkpoint(self, epoch: int, state: Callable[[], bytes]) -> None:
        """Save the state if it is time to."""
        settings, now = self.work.settings, time.monotonic()
        due = now - self._saved_at >= settings.checkpoint_every_s
        if due or epoch - self._saved_epoch >= settings.checkpoint_every_epochs:
            saved = state()
            self.work.hold()
            self.work.run.save_checkpoint(epoch, saved)
            self._saved_at, self._saved_epoch = time.monotonic(), epoch


# ---- generate


def _generate(work: Work) -> dict[str, Any]:
    from gan_lab.synth.tables import SplitWriter, synthetic_folder

    started, config = time.perf_counter(), cast(GenerateConfig, work.config)
    amounts = lives_of_splits(config) or config.splits
    total = sum(amounts.values())
    machine_id = work.spec.machine_id
    source = training_run(machine_id, config.model_task_id)
    bad = verdict_levels(machine_id).get(source.task_id) == "bad"
    doubt = ", whose report says: do not use its rows" if bad else ""
    work.say("initializing", 0, total, f"Loading the model of {source.task_id[:8]}{doubt}")
    model = load_model(source)
    _record_environment(work, model_task_id=source.task_id)
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


def training_run(machine_id: str, task_id: str | None = None) -> RunFolder:
    """Return the training to draw from: the one named, else the newest that no report calls bad.

    Where reports call all of them bad it is the newest. Raises `NoModel` where there is none.
    """
    if task_id:
        run = open_run(task_id)
        if run.spec.kind == "train" and run.result_data() is not None:
            return run
        raise NoModel(f"Task {run.task_id} has left no model: name a training that is done.")
    trained = list(done_runs(machine_id, "train"))
    if not trained:
        raise NoModel(f"{machine_id} has no model. Make one with `gan-lab train {machine_id}`.")
    return newest_good(trained, verdict_levels(machine_id))


def newest_good(trained: Sequence[RunFolder], levels: dict[str, str]) -> RunFolder:
    """Return the newest of trainings, newest first, not called bad; of bad ones the newest."""
    return next((run for run in trained if levels.get(run.task_id) != "bad"), trained[0])


def verdict_levels(machine_id: str) -> dict[str, str]:
    """Return what the newest report on each training of a machine says: good, care or bad."""
    return levels_by_model(done_runs(machine_id, "report"))


def levels_by_model(reports: Iterable[RunFolder]) -> dict[str, str]:
    """Return what the first of the reports on each training says, by the training's id.

    Rows that were drawn under conditions are unlike the real ones on purpose: of their reports
    only "bad" counts, which is then of what no condition excuses.
    """
    found: dict[str, str] = {}
    for run in reports:
        made = run.environment()
        level = str((run.result_data() or {}).get("level"))
        if level == "bad" or not made.get("conditions"):
            found.setdefault(str(made.get("model_task_id")), level)
    return found


def load_model(run: RunFolder) -> Any:
    """Return the model that a training left; raises `BadParameter` for a bad file."""
    from gan_lab.synth.modelfile import load_file

    path = run.path / runs.MODEL
    return model_class(str(load_file(path)[1].get("model"))).load(path)


def check_request(source: RunFolder, config: GenerateConfig, roles: Roles) -> None:
    """Raise `BadParameter` for lives and conditions that the model of a training cannot meet.

    Reads the model, and imports torch, only where it may not.
    """
    rows_only = TrainConfig.model_validate(source.spec.config).kind(roles) == "tabular"
    if config.conditions or (config.lives and rows_only):
        load_model(source).sample(rows=1, conditions=config)


# ---- report


def _report(work: Work) -> dict[str, Any]:
    from gan_lab.synth import quality, tables
    from gan_lab.synth.report_page import render_html

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
    _record_environment(work, model_task_id=trained.task_id, conditions=asked)

    synthetic = tables.read_synthetic(machine_id)
    report = quality.evaluate(
        synthetic, train, holdout, profile.roles, profile, config.seed, Steps(work), asked,
    )  # fmt: skip
    work.check()
    work.say("writing", 99, 100, "Writing the report")
    path = work.run.path / runs.REPORT_JSON
    write_beside(path, report.model_dump_json(indent=2))
    write_beside(work.run.path / runs.REPORT_HTML, render_html(report))
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
    from gan_lab.synth import tables

    known = tables.manifest(machine_id)
    return training_run(machine_id, known["model"] if known else None)


def _conditions_of_tables(machine_id: str) -> str:
    """Return the conditions that the present synthetic tables were drawn under, in words."""
    from gan_lab.synth import tables

    asked = (tables.manifest(machine_id) or {}).get("conditions", {})
    return ", ".join(f"{name} {value}" for name, value in asked.items())


# ---- what a run was made with


def _record_environment(work: Work, **facts: Any) -> None:
    """Record what the result depends on, for whoever asks later how it came to be."""
    import socket

    from gan_lab.synth.tables import seed_path, table_sha256

    path = seed_path(work.spec.machine_id)
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # of nested levels
    work.run.record_environment(
        host=socket.gethostname(),
        threads=int(first) if first.isdigit() else os.cpu_count(),
        seed_sha256=table_sha256(path) if path.exists() and work.spec.kind != "seed" else None,
        versions=package_versions(),
        **facts,
    )


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on, and the commit where there is one."""
    commit = git_commit(Path(__file__).parent.parent.parent)
    return {**_installed_versions(), **({"commit": commit} if commit else {})}


@cache
def _installed_versions() -> dict[str, str]:
    found = {}
    for name in ("gan-lab", "torch", "ctgan", "sdv", "rdt", "numpy", "pandas", "distributed"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_commit(folder: Path) -> str | None:
    """Return the commit a checkout stands on, read from its files; None where it is no checkout."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = [line.split(" ") for line in (git / "packed-refs").read_text().splitlines()]
        return next((line[0] for line in packed if line[1:] == [name]), None)
    except OSError:
        return None


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / MEGABYTE, 3)
