"""Commands for whoever looks after the workspace: logs, doctor, clean."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from annotated_types import Ge

from gan_lab.cli.options import Number
from gan_lab.cli.show import print_json
from gan_lab.settings import load_settings


@click.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print one object per line.")
def logs(task_id: str, as_json: bool) -> None:
    """Show a task's log, whichever workers ran it; that of a failure ends in its traceback."""
    from gan_lab.workspace.runs import open_run

    for line in open_run(task_id).log():
        click.echo(json.dumps(line) if as_json else _readable(line))


def _readable(line: dict[str, Any]) -> str:
    words = [line[name] for name in ("state", "stage", "level", "logger") if name in line]
    words += [f"attempt {line['attempt']}"] if line.get("attempt", 1) > 1 else []
    about = [line["kind"], line["machine_id"], line.get("worker") or ""]
    text = f"{line['time']} {' '.join(words)} | {' '.join(about).strip()} | {line['message']}"
    return f"{text}\n{line['traceback'].rstrip()}" if "traceback" in line else text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings.")
def doctor(as_json: bool) -> int:
    """Look for the usual troubles and say what to do; exit status 1 where there are any."""
    from gan_lab.cluster.upkeep.doctor import examine

    findings = []
    for finding in examine(load_settings()):
        findings.append(asdict(finding) | {"ok": finding.ok})
        if not as_json:
            mark, colour = ("ok", "green") if finding.ok else ("trouble", "red")
            click.echo(f"{click.style(f'{mark:<8}', fg=colour)}{finding.check:<14} {finding.says}")
            if finding.advice:
                click.echo(f"{'':<23}{finding.advice}")
    if as_json:
        print_json(findings)
    return 0 if all(finding["ok"] for finding in findings) else 1


@click.command()
@click.option(
    "--older-than",
    type=Number(float, [Ge(0)], 30),
    required=True,
    metavar="DAYS",
    help="What was asked for longer ago.",
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are only named.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def clean(older_than: float, yes: bool, as_json: bool) -> None:
    """Remove old runs and fleets that have ended, after --yes; without it, name them.

    Never the model in use of a machine, its report, what its synthetic tables come from, what a
    task still needs, or the newest fleet and what is at work; what is lost counts as at work until
    it is cancelled. A fleet's folder holds its notebooks and its report; its runs count as runs.
    """
    from rich.filesize import decimal

    from gan_lab import terminal
    from gan_lab.cluster.upkeep import cleaning

    home = load_settings().home
    sweep = cleaning.plan(home, older_than)
    sizes = {one.path.name: sweep.sizes[one.path.name] for one in sweep.gone}
    named = [
        {"id": one.path.name, "what": cleaning.what(one), "size": decimal(sizes[one.path.name])}
        for one in sweep.gone
    ]
    for sentence in cleaning.carry_out(sweep, home) if yes else ():
        click.echo(sentence, err=True)
    room = sum(sizes.values())
    if as_json:
        print_json({"removed": named, "done": yes, "bytes": room, "kept": sweep.kept})
        return
    if named:
        terminal.show_table(named)
    click.echo(
        f"{'Removed' if yes else 'Would remove'} {len(named)} of {len(sweep.sizes)} runs and "
        f"fleets, {decimal(room)}; in use: {len(sweep.kept)} (--json says why)."
        + ("" if yes or not named else " Again with --yes, it is done.")
    )
