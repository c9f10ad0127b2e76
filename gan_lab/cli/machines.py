"""Commands for machines and their tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gan_lab.cli.options import config_options, given
from gan_lab.cli.show import print_json
from gan_lab.errors import BadParameter
from gan_lab.schema import ImportConfig, PrognoseConfig


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print a list.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a profile instead.")
@click.pass_context
def machines(context: click.Context, as_json: bool, schema: bool) -> None:
    """List the machines and where each stands, or add one."""
    if context.invoked_subcommand:
        return
    if schema:
        from gan_lab.workspace.profile_check import profile_schema

        print_json(profile_schema())
        return
    from gan_lab import terminal
    from gan_lab.cluster import catalogue

    rows = catalogue.machines().to_dict("records")
    if as_json:
        print_json(rows)
    else:
        terminal.show_table(rows)


@machines.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace a machine that exists.")
def add(file: Path, replace: bool) -> None:
    """Add a machine by its profile (YAML)."""
    from gan_lab.workspace.profile_check import add_profile

    profile = add_profile(file.read_bytes(), str(file), replace)
    click.echo(f"{profile.machine_id}: {len(profile.sensors)} sensors.")


@click.command("import")
@click.argument("machine_id")
@click.argument("files", nargs=-1, required=True)
@config_options(ImportConfig)
@click.option("--cmapss", is_flag=True, help="A table as NASA has it, such as train_FD001.txt.")
@click.option("--max-rul", type=int, help="With --cmapss: the most that rul says, such as 125.")
@click.option("--json", "as_json", is_flag=True, help="Print what was understood as one object.")
def import_(
    machine_id: str,
    files: tuple[str, ...],
    cmapss: bool,
    max_rul: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a machine of your own table (CSV, Parquet or Excel).

    Without --life the table is one of rows without order.
    """
    import gan_lab as lab

    tables: list[Any] = list(files)
    if cmapss:
        from gan_lab.synth.importing.cmapss import ROLES, read_cmapss

        tables = [read_cmapss(file, max_rul) for file in files]
        options |= ROLES
    summary = lab.import_machine(machine_id, tables, **given(options))
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        click.echo(str(summary))


@click.command()
@click.argument("machine_id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all units to this CSV, Parquet or Excel file.",
)
@config_options(PrognoseConfig)
@click.option("--json", "as_json", is_flag=True, help="Print a list of the units.")
def prognose(
    machine_id: str, file: Path, out: Path | None, model_task_id: str | None, as_json: bool
) -> None:
    """Say how long running units will last: their rows so far in FILE."""
    import gan_lab as lab

    if out is not None and out.suffix not in (".csv", ".parquet", ".xlsx"):
        raise BadParameter(f"Cannot write {out}: name a .csv, .parquet or .xlsx file.")
    answer = lab.prognose(machine_id, file, model_task_id)
    table = answer.to_frame().reset_index(names="unit")
    if out is not None:
        from gan_lab.workspace.tables import write_table

        write_table(out, table)
    if as_json:
        print_json(table.to_dict("records"))
        return
    click.echo(str(answer))
    click.echo(answer.worth)
    if out is not None:
        click.echo(f"Written to {out}.")


@click.command()
@click.argument("machine_id")
@click.option(
    "--to", type=click.Choice(("csv", "xlsx", "parquet")), default="csv", show_default=True
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.  [default: exports/MACHINE_ID]",
)
def export(machine_id: str, to: str, out: Path | None) -> None:
    """Write synthetic tables, the lives no model has seen beside them, and DATA-CARD.md."""
    from gan_lab.cluster.export import export as write

    for path in write(machine_id, to, out or Path("exports", machine_id)):
        click.echo(path)


@click.command("export-sdv")
@click.argument("machine_id")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_options(PrognoseConfig)
def export_sdv(machine_id: str, file: Path, model_task_id: str | None) -> None:
    """Write a model of rows as FILE for SDV, which loads and samples it without this package."""
    from gan_lab.cluster.models import load_model, training_run

    source = training_run(machine_id, model_task_id)
    model = load_model(source)
    if not hasattr(model, "export_sdv"):
        raise BadParameter(
            f"Training {source.task_id[:8]} of {machine_id} learned lives, and SDV has rows: train "
            "with --model tabular."
        )
    model.export_sdv(file)
    click.echo(f"Written to {file}; load it with sdv.utils.load_synthesizer.")
