"""The calls over HTTP: one table, whose rows call the library with what the request brought."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_server.utils import url_path_join

from gan_lab.cluster import catalogue, prognosis, submit
from gan_lab.cluster.estimate import estimate_minutes
from gan_lab.cluster.queue import statuses
from gan_lab.errors import BadParameter, NoReport
from gan_lab.schema import GenerateConfig, ImportConfig, SeedConfig, TaskStatus, TrainConfig
from gan_lab.server.messages import (
    Accepted,
    ChainedTask,
    MachineRow,
    MachineStatus,
    PipelineRequest,
    Replace,
    TaskFilter,
)
from gan_lab.server.openapi import Route, document
from gan_lab.workspace.profile_check import add_profile
from gan_lab.workspace.profiles import Profile, check_machine_id, load_profile
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, newest_run, open_run


@dataclass(frozen=True)
class Request:
    """What came with a request: its parameters, and its body as `Route.body` says.

    `name` is the machine or the task in its path; of `query` and `body` only what was given.
    """

    base_url: str
    name: str
    query: dict[str, Any]
    body: Any


def list_machines(_: Request) -> list[dict[str, Any]]:
    """Return one object for each machine."""
    return catalogue.machines().to_dict("records")


def add_machine(request: Request) -> Profile:
    """Write a profile that is right in every part."""
    return add_profile(request.body, "that was sent", **request.query)


def get_machine(request: Request) -> dict[str, Any]:
    """Return profile, seed, model and synthetic tables."""
    return catalogue.get_machine_status(request.name)


def import_table(request: Request) -> Any:
    """Import the table as `gan-lab import` does."""
    if "events" in request.query:
        raise BadParameter("A log of events is no part of this call: import both in Python.")
    with _as_file(request.body, check_machine_id(request.name)) as path:
        return catalogue.import_machine(request.name, path, **request.query)


def prognose(request: Request) -> list[dict[str, Any]]:
    """Return how long running units will last, one object a unit, from their rows so far."""
    with _as_file(request.body, "running") as path:
        answer = prognosis.prognose(request.name, path)
    table = answer.to_frame().reset_index(names="unit")
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


@contextmanager
def _as_file(table: bytes, stem: str) -> Iterator[Path]:
    """Yield a file with a table that was sent, named by what its first bytes say it is."""
    kind = "parquet" if table.startswith(b"PAR1") else "csv"
    with TemporaryDirectory(prefix="gan-lab-upload-") as folder:
        path = Path(folder) / f"{stem}.{kind}"
        path.write_bytes(table)
        yield path


def get_report(request: Request) -> str:
    """Return the page of a machine's newest report."""
    load_profile(request.name)
    run = newest_run(request.name, "report")
    page = run.report_html() if run else None
    if page is None:
        raise NoReport(
            f"{request.name} has no report yet: `gan-lab report {request.name}` makes one."
        )
    return page


def start(kind: str) -> Callable[[Request], Accepted]:
    """Return the call that starts a task of a kind, or all of a pipeline."""

    def call(request: Request) -> Accepted:
        started = getattr(submit, kind)(request.name, **request.body)
        runs: list[RunFolder] = started if isinstance(started, list) else [started]
        where = partial(url_path_join, request.base_url, "ws/gan/training")
        tasks = [
            ChainedTask(kind=run.spec.kind, task_id=run.task_id, websocket_url=where(run.task_id))
            for run in runs
        ]
        epochs = [run.spec.config["epochs"] for run in runs if run.spec.kind == "train"]
        return Accepted(
            success=True,
            machine_id=request.name,
            task_id=tasks[-1].task_id,
            websocket_url=tasks[-1].websocket_url,
            estimated_time_minutes=round(sum(estimate_minutes(run.spec) for run in runs), 3),
            message=f"{kind} of {request.name} started",
            **({"epochs": epochs[0]} if epochs else {}),
            **({"tasks": tasks} if kind == "pipeline" else {}),
        )

    return call


def list_tasks(request: Request) -> list[TaskStatus]:
    """Return where the newest tasks stand."""
    wanted = TaskFilter(**request.query)
    found = [run for run in all_runs() if wanted.machine_id in (None, run.spec.machine_id)]
    return statuses(found[: wanted.limit])


def get_task(request: Request) -> TaskStatus:
    """Return where a task stands."""
    return statuses([open_run(request.name)])[0]


def cancel_task(request: Request) -> TaskStatus:
    """Ask a task to stop; one that has ended stays as it is."""
    return submit.Run.of(open_run(request.name)).cancel()


def describe(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return document(ROUTES, request.base_url)


MACHINES, MACHINE = "/api/gan/machines", "/api/gan/machines/{machine_id}"
TASKS, TASK = "/api/gan/tasks", "/api/gan/tasks/{task_id}"
ROUTES = [
    Route("get", "/api/gan/openapi.json", "This document.", describe, dict[str, Any]),
    Route(
        "get", MACHINES, "List the machines and where each stands.",
        list_machines, list[MachineRow],
    ),
    Route(
        "post", MACHINES, "Add a machine by its profile, in JSON or YAML.",
        add_machine, Profile, 201, body=Profile, query=Replace,
    ),
    Route("get", MACHINE, "Where a machine stands.", get_machine, MachineStatus),
    Route(
        "post", f"{MACHINE}/data", "Bring a machine's own table, as CSV or Parquet.",
        import_table, dict[str, Any], 201, body=bytes, query=ImportConfig,
    ),
    Route(
        "post", f"{MACHINE}/prognose",
        "How long running units will last: their rows so far, as CSV or Parquet.",
        prognose, list[dict[str, Any]], body=bytes,
    ),
    Route("get", f"{MACHINE}/report", "The newest report, as a page.", get_report, str),
    *(
        Route("post", f"{MACHINE}/{kind}", summary, start(kind), Accepted, 202, body)
        for kind, summary, body in (
            ("seed", "Simulate a machine's seed table.", SeedConfig),
            ("train", "Train a TVAE on a machine's seed table.", TrainConfig),
            (
                "generate", "Draw train, validation and test tables from a machine's model.",
                GenerateConfig,
            ),
            (
                "pipeline", "Seed, train, generate and report, chained on the cluster.",
                PipelineRequest,
            ),
        )
    ),
    Route(
        "get", TASKS, "List the tasks, newest first.",
        list_tasks, list[TaskStatus], query=TaskFilter,
    ),
    Route("get", TASK, "Where a task stands.", get_task, TaskStatus),
    Route("delete", TASK, "Cancel a task and what follows it.", cancel_task, TaskStatus),
]  # fmt: skip
