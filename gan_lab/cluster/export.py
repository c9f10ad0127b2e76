"""A machine's tables for elsewhere: synthetic ones, real ones that no model has seen, a card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gan_lab.cluster.models import report_on, training_run
from gan_lab.errors import BadTable
from gan_lab.schema import TrainConfig
from gan_lab.workspace import tables
from gan_lab.workspace.profiles import Profile, load_profile

if TYPE_CHECKING:
    import pandas as pd

    from gan_lab.workspace.run_folder import RunFolder

CARD = "README.md"
HOLDOUT = "real-holdout"
FIGURES = ("quality", "utility", "utility_of_lives", "memory", "detection")


def seen_and_held_out(machine_id: str) -> tuple[RunFolder, pd.DataFrame, pd.DataFrame]:
    """Return the training behind the synthetic tables, the rows it saw, and those it did not.

    Raises `BadTable` where the seed table is another one by now.
    """
    trained = training_run(machine_id, (tables.manifest(machine_id) or {}).get("model"))
    options = TrainConfig.model_validate(trained.spec.config)
    seed = tables.read_seed(machine_id)
    sha256 = tables.table_sha256(tables.seed_path(machine_id))
    if trained.environment().get("seed_sha256") != sha256:
        raise BadTable(
            f"The seed table of {machine_id} is another one than training {trained.task_id[:8]} "
            "learned from, so nobody knows which lives it has not seen: train and generate again."
        )
    roles = load_profile(machine_id).roles
    return trained, *tables.split_holdout(seed, roles, options.holdout, options.seed)


def export(machine_id: str, to: str, folder: Path) -> list[Path]:
    """Write a machine's synthetic tables, the real lives held out from its model, and a data card.

    `to`: csv, xlsx or parquet. Raises `UnknownMachine`, `BadTable` where there are no synthetic
    tables, `BadParameter` where a table cannot be written so.
    """
    profile = load_profile(machine_id)
    drawn = tables.manifest(machine_id) or {"rows": ["train"]}
    synthetic = {name: tables.read_synthetic(machine_id, name) for name in drawn["rows"]}
    trained, _, holdout = seen_and_held_out(machine_id)
    about = {"machine_id": machine_id, "model": trained.task_id}
    written = {f"synthetic-{name}.{to}": table for name, table in synthetic.items()}
    written[f"{HOLDOUT}.{to}"] = holdout
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in written.items():
        tables.write_table(folder / name, table, None if table is holdout else about)
    (folder / CARD).write_text(_card(profile, trained, written), encoding="utf-8")
    return [*(folder / name for name in written), folder / CARD]


def _card(profile: Profile, trained: RunFolder, written: dict[str, pd.DataFrame]) -> str:
    """Return in Markdown what the tables are, how they were made and how far to trust them."""
    life, played = profile.roles.life, {v: k for k, v in profile.roles.model_dump().items() if v}
    drawn, made = tables.manifest(profile.machine_id) or {}, trained.result_data() or {}
    files = [
        f"| {name} | {'real' if name.startswith(HOLDOUT) else 'synthetic'} | {len(table):,} "
        f"| {table[life].nunique() if life in table else ''} |"
        for name, table in written.items()
    ]
    units = {name: sensor.unit for name, sensor in profile.sensors.items()}
    units |= {str(profile.roles.rul): profile.rul_unit}
    last = next(iter(written.values()))
    columns = [
        f"| {name} | {kind} | {units.get(name, '')} | {played.get(name, '').replace('_', ' ')} |"
        for name, kind in last.dtypes.items()
    ]
    kind = TrainConfig.model_validate(trained.spec.config).kind(profile.roles)
    what = ", ".join(filter(None, (profile.category, profile.manufacturer, profile.model)))
    conditions = drawn.get("conditions") or "none"
    report = report_on(trained)
    verdict = report.get("verdict", f"Not judged yet: `gan-lab report {profile.machine_id}`.")
    figures = {name: report[name] for name in FIGURES if report.get(name) is not None}
    lines = [
        f"# {profile.machine_id}: synthetic tables and held-out real ones",
        f"{what}. {profile.description}".strip(),
        "The synthetic rows were drawn from a model; no sensor has measured them. The real ones in "
        f"`{HOLDOUT}` were kept from the model: test on them what was learned from synthetic rows.",
        "| file | rows are | rows | lives |\n| --- | --- | --- | --- |\n" + "\n".join(files),
        "## Columns",
        "| column | type | unit | part |\n| --- | --- | --- | --- |\n" + "\n".join(columns),
        "## How they were made",
        f"gan_lab, model `{kind}` of training `{trained.task_id}`: {made.get('epochs_completed')} "
        f"epochs. Drawn {drawn.get('created')} by task `{drawn.get('task_id')}`; conditions: "
        f"{conditions}.",
        "## How far to trust them",
        str(verdict),
        "\n".join(f"- {name.replace('_', ' ')}: {value:.3g}" for name, value in figures.items()),
    ]
    return "\n\n".join(filter(None, lines)) + "\n"
