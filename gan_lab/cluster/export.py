"""A machine's tables for elsewhere: synthetic ones, rows that no model has seen, a card."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from gan_lab.cluster.models import FIGURES, reports, training_run
from gan_lab.errors import BadTable
from gan_lab.schema import TrainConfig
from gan_lab.workspace import tables
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.profiles import Profile, load_profile
from gan_lab.workspace.run_folder import RunFolder

CARD, CROISSANT = "DATA-CARD.md", "croissant.json"
SYNTHETIC = "The synthetic rows were drawn from a model; no sensor has measured them."
FORMATS = {"csv": "text/csv", "parquet": "application/x-parquet"}  # Croissant has no Excel
TYPES = {
    "yes or no": "BOOL", "whole number": "INTEGER", "number": "FLOAT", "date": "DATETIME",
    "text": "TEXT",
}  # fmt: skip
NO_SENSOR = "Nor the rows that the model learned from: a simulator made them. "


def seen_and_held_out(machine_id: str) -> tuple[RunFolder, pd.DataFrame, pd.DataFrame]:
    """Return the training behind the synthetic tables, the rows it saw, and those it did not.

    Raises `BadTable` where the seed table or a synthetic one is another by now.
    """
    drawn = tables.manifest(machine_id) or {}
    for split, sha256 in drawn.get("sha256", {}).items():
        path = tables.synthetic_folder(machine_id) / f"{split}.parquet"
        if path.exists() and tables.table_sha256(path) != sha256:
            raise BadTable(
                f"{path} is not the table that was drawn (its hash is another than the "
                f"manifest's): run `gan-lab generate {machine_id}` again."
            )
    trained = training_run(machine_id, drawn.get("model"))
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
    """Write a machine's synthetic tables, the rows held out from its model, and a data card.

    Where a simulator made the seed table, file and card call what was held out simulated.
    `to`: csv, xlsx or parquet. Where `mlcroissant` is installed, `croissant.json` describes CSV
    and Parquet files for programs (Akhtar et al. 2024). Raises `UnknownMachine`,
    `BadTable` where there are no synthetic tables, `BadParameter` where a table cannot be written
    so.
    """
    profile = load_profile(machine_id)
    drawn = tables.manifest(machine_id) or {"rows": ["train"]}
    synthetic = {name: tables.read_synthetic(machine_id, name) for name in drawn["rows"]}
    trained, _, holdout = seen_and_held_out(machine_id)
    made = tables.mark_of(tables.seed_path(machine_id))
    held = "simulated" if made.get("simulated") else "real"
    about = {"machine_id": machine_id, "model": trained.task_id}
    written = {f"synthetic-{name}.{to}": table for name, table in synthetic.items()}
    written[f"{held}-holdout.{to}"] = holdout
    for name, table in written.items():
        tables.write_table(folder / name, table, made if table is holdout else about)
    before = {path.name for like in ("synthetic-*", "*-holdout.*") for path in folder.glob(like)}
    earlier = sorted(before - written.keys())
    write_beside(folder / CARD, _card(profile, trained, written, held, earlier))
    files = {folder / name: table for name, table in written.items()}
    about_all = f"{machine_id}: {SYNTHETIC} Beside them {held} rows kept from the model."
    if to in FORMATS and find_spec("mlcroissant"):
        described = _croissant(machine_id, about_all, files, _units(profile))
        write_beside(folder / CROISSANT, json.dumps(described, indent=2, default=str))
        return [*files, folder / CROISSANT, folder / CARD]
    return [*files, folder / CARD]


def _units(profile: Profile) -> dict[str, str]:
    units = {name: sensor.unit for name, sensor in profile.sensors.items()}
    return units | {str(profile.roles.rul): profile.rul_unit}


def _card(
    profile: Profile,
    trained: RunFolder,
    written: dict[str, pd.DataFrame],
    held: str,
    earlier: list[str],
) -> str:
    """Return in Markdown what the tables are, how they were made and how far to trust them."""
    life, played = profile.roles.life, {v: k for k, v in profile.roles.model_dump().items() if v}
    drawn, made = tables.manifest(profile.machine_id) or {}, trained.result_data() or {}
    files = [
        f"| {name} | {name.split('-')[0]} | {len(table):,} "
        f"| {table[life].nunique() if life in table else ''} |"
        for name, table in written.items()
    ]
    units = _units(profile)
    last = next(iter(written.values()))
    columns = [
        f"| {name} | {_kind(kind)} | {units.get(name, '')} "
        f"| {played.get(name, '').replace('_', ' ')} |"
        for name, kind in last.dtypes.items()
    ]
    kind = TrainConfig.model_validate(trained.spec.config).kind(profile.roles)
    category = "" if profile.imported else profile.category
    what = ", ".join(filter(None, (category, profile.manufacturer, profile.model)))
    conditions = tables.conditions_in_words(drawn) or "none"
    report = reports(profile.machine_id).get(trained.task_id, {})
    verdict = report.get("verdict", f"Not judged yet: `gan-lab report {profile.machine_id}`.")
    figures = [
        f"- {name.replace('_', ' ')} {report[name]:.3g}: {meaning}"
        for name, meaning in FIGURES.items()
        if report.get(name) is not None
    ]
    epochs = made.get("epochs_completed")
    learned = f"{epochs} epochs" if epochs else "decision trees"
    lines = [
        f"# {profile.machine_id}: synthetic tables and held-out {held} ones",
        " ".join(filter(None, (what and f"{what}.", profile.description))),
        f"{SYNTHETIC} {NO_SENSOR if held == 'simulated' else ''}The {held} rows in "
        f"`{held}-holdout` were kept from the model: test on them what was learned from synthetic "
        "rows.",
        "| file | rows are | rows | lives |\n| --- | --- | --- | --- |\n" + "\n".join(files),
        f"Of earlier exports, which this card does not describe: {', '.join(earlier)}."
        if earlier
        else "",
        "## Columns",
        "| column | type | unit | part |\n| --- | --- | --- | --- |\n" + "\n".join(columns),
        "## How they were made",
        f"gan_lab, model `{kind}` of training `{trained.task_id}`: {learned}. Drawn "
        f"{drawn.get('created')} by task `{drawn.get('task_id')}`; conditions: {conditions}.",
        "## How far to trust them",
        str(verdict),
        "\n".join(figures),
    ]
    return "\n\n".join(filter(None, lines)) + "\n"


def _croissant(
    name: str, about: str, files: dict[Path, pd.DataFrame], units: dict[str, str]
) -> dict[str, Any]:
    """Return the tables of files that lie side by side as Croissant's JSON-LD."""
    import mlcroissant as mlc

    objects, sets = [], []
    for file, table in files.items():
        objects.append(
            mlc.FileObject(
                id=file.name, name=file.name, content_url=file.name,
                encoding_formats=[FORMATS[file.suffix[1:]]], sha256=tables.table_sha256(file),
            )
        )  # fmt: skip
        fields = [
            mlc.Field(
                id=f"{file.stem}/{'_'.join(column.split())}", name=column,
                description=units.get(column), data_types=[getattr(mlc.DataType, TYPES[kind])],
                source=mlc.Source(file_object=file.name, extract=mlc.Extract(column=column)),
            )
            for column, kind in ((str(name), _kind(kind)) for name, kind in table.dtypes.items())
        ]  # fmt: skip
        sets.append(mlc.RecordSet(id=file.stem, name=file.stem, fields=fields))
    found = mlc.Metadata(name=name, description=about, distribution=objects, record_sets=sets)
    return dict(found.to_json())


def _kind(kind: Any) -> str:
    """Return a column's type in words."""
    types = pd.api.types
    if types.is_bool_dtype(kind):
        return "yes or no"
    if types.is_integer_dtype(kind):
        return "whole number"
    if types.is_numeric_dtype(kind):
        return "number"
    return "date" if types.is_datetime64_any_dtype(kind) else "text"
