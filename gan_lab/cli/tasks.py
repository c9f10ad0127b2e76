"""Commands that start, follow and stop tasks."""

from __future__ import annotations

from typing import Any

import click

from gan_lab.cli.fleets import find, show_fleet
from gan_lab.cli.options import config_options, given, task_options
from gan_lab.cli.show import finish, outcome, print_facts, print_json, wait_silently
from gan_lab.errors import BadParameter
from gan_lab.schema import CONFIGS, Kind, TrainConfig
from gan_lab.task_states import state_of


def _starts(kind: Kind, about: str) -> click.Command:
    """Return the command that starts a task of this kind."""

    @click.command(kind, help=about)
    @click.argument("machine_id")
    @config_options(CONFIGS[kind])
    @task_options
    def start(machine_id: str, detach: bool, as_json: bool, **options: Any) -> int:
        from gan_lab.cluster import submit

        return finish([getattr(submit, kind)(machine_id, **given(options))], detach, as_json)

    return start


seed = _starts("seed", "Simulate run-to-failure lives of a machine from its profile.")
train = _starts(
    "train",
    "Learn a machine's lives by a TVAE, or plain rows by trees, from its seed table or yours.",
)
report = _starts(
    "report", "Judge a machine's synthetic tables against held-out real ones; writes HTML and JSON."
)


@click.command()
@click.argument("machine_id")
@config_options(CONFIGS["generate"])
@click.option(
    "--report/--no-report", default=True, show_default=True, help="Judge the rows afterwards."
)
@task_options
def generate(machine_id: str, report: bool, detach: bool, as_json: bool, **options: Any) -> int:
    """Draw train, validation and test tables from a trained model."""
    from gan_lab.cluster import submit

    runs = submit.generate_and_judge(machine_id, report, **given(options))
    return finish(runs[:1] if detach or as_json else runs, detach, as_json)


@click.command()
@click.argument("machine_id")
@config_options(TrainConfig)
@click.option("--report/--no-report", default=True, help="Judge the rows at the end.")
@task_options
def pipeline(machine_id: str, report: bool, detach: bool, as_json: bool, **options: Any) -> int:
    """Seed, train, generate and report, chained on the cluster; options are the training's."""
    import gan_lab as lab

    runs = lab.pipeline(machine_id, train=given(options), report=report)
    return finish(runs, detach, as_json, many=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of TaskStatus.")
@click.option("--most", type=int, default=30, show_default=True, help="Newest tasks to show.")
def tasks(as_json: bool, most: int) -> None:
    """List the tasks, newest first."""
    from gan_lab import terminal
    from gan_lab.cluster.queue import statuses
    from gan_lab.workspace.runs import all_runs

    found = all_runs()
    if as_json:
        print_json([now.model_dump(mode="json") for now in statuses(found)])
        return
    terminal.show_table(
        {
            "task_id": now.task_id,
            "kind": now.metadata["kind"],
            "machine": now.metadata["machine_id"],
            "status": state_of(now).word,
            "progress": f"{now.progress}%",
            "created": _moment(now.metadata["created"]),
            "message": now.message,
        }
        for now in statuses(found[:most])
    )


def _moment(stamp: str) -> str:
    return stamp[:19].replace("T", " ")


@click.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print a TaskStatus.")
def task(task_id: str, as_json: bool) -> int:
    """Say where a task stands."""
    import gan_lab as lab

    now = lab.get_task_status(task_id)
    if as_json:
        print_json(now.model_dump(mode="json"))
    else:
        about = {"task_id": now.task_id, "status": state_of(now).word}
        about |= {"progress": f"{now.progress} %", "message": now.message, **now.metadata}
        about |= {name: _moment(about[name]) for name in ("created", "updated") if about.get(name)}
        about["cancelling"] = now.metadata["cancelling"] or None
        print_facts(about | ({"result": now.result} if now.result else {}))
    return 1 if now.state in ("FAILURE", "REVOKED") else 0


@click.command()
@click.argument("task_id")
@click.option("--json", "as_json", is_flag=True, help="Print one event per line.")
def watch(task_id: str, as_json: bool) -> int:
    """Follow a task, or a fleet, from its beginning to its end."""
    import gan_lab as lab
    from gan_lab.cluster.queue import warn_when_lost
    from gan_lab.wire.follow import follow

    if (fleet := find(task_id)) is not None:
        return show_fleet(fleet, as_json)
    run = lab.task(task_id)
    if not as_json:
        return finish([run], detach=False, as_json=False)
    with warn_when_lost([run]):
        for event in follow(run):
            click.echo(event.model_dump_json(exclude_none=True))
    return outcome([run], as_json=True)


def _unfinished(machine: str | None) -> list[Any]:
    """Return the tasks of a machine, or of all, that have not ended; a damaged one is left out."""
    from gan_lab.cluster.submit import Run
    from gan_lab.workspace.runs import all_runs

    mine = (run for run in all_runs() if machine in (None, run.spec.machine_id))
    return [Run.of(run) for run in mine if not run.final and run.spec.kind in CONFIGS]


@click.command()
@click.argument("task_ids", nargs=-1)
@click.option("--machine", metavar="ID", help="Every task of this machine that has not ended.")
@click.option("--all", "everything", is_flag=True, help="Every task and fleet that has not ended.")
@task_options
def cancel(
    task_ids: tuple[str, ...], machine: str | None, everything: bool, detach: bool, as_json: bool
) -> int:
    """Stop tasks and fleets; what they had written before stays."""
    import gan_lab as lab
    from gan_lab.workspace.fleet_folder import fleet_folders

    if not (task_ids or machine or everything):
        raise BadParameter("Name tasks or fleets to stop, a --machine, or give --all.")
    at_work = [one.fleet_id for one in fleet_folders() if one.alive] if everything else []
    fleets = {name: found for name in (*task_ids, *at_work) if (found := find(name))}
    runs = [lab.task(name) for name in task_ids if name not in fleets]
    if machine or everything:
        runs += _unfinished(None if everything else machine)
    for one in (*fleets.values(), *runs):
        one.cancel()
    if not detach:
        for fleet in fleets.values():  # JSON is one object: of the tasks, where there are any
            fleet.wait() if as_json and runs else show_fleet(fleet, as_json)
        wait_silently(runs)
    if not as_json:
        for run in runs:
            now = run.status()
            word = state_of(now).word
            click.echo(f"{run.spec.kind} of {run.spec.machine_id} is {word}: {now.message}")
        if not fleets and not runs:
            click.echo("Nothing is at work.")
    elif runs or not fleets:
        told = [run.status().model_dump(mode="json") for run in runs]
        print_json(told[0] if len(task_ids) == len(told) == 1 else told)
    return 0


@click.command()
@click.argument("task_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every task that is lost.")
@task_options
def resume(task_id: str | None, everything: bool, detach: bool, as_json: bool) -> int:
    """Go on with a task that is lost, failed or was cancelled, or with all that are lost."""
    from gan_lab.cluster.resume import resume as submit_again
    from gan_lab.cluster.submit import Run

    if everything == (task_id is not None):
        raise BadParameter("Name one task to resume, or give --all for every task that is lost.")
    found = [Run.of(run) for run in submit_again(task_id)]
    if not found and not as_json:
        click.echo("Nothing is lost.")
    return finish(found, detach, as_json, many=True)
