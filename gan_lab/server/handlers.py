"""The calls over HTTP: each takes a request apart, asks the library, and answers."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from jupyter_server.utils import url_path_join
from pydantic import BaseModel
from tornado import web
from tornado.http1connection import HTTP1Connection

from gan_lab.errors import BadProfile, MachineExists, NoReport
from gan_lab.schema import GenerateConfig, SeedConfig, TaskStatus, TrainConfig
from gan_lab.server.messages import (
    Accepted,
    ChainedTask,
    MachineRow,
    MachineStatus,
    PipelineAccepted,
    PipelineRequest,
    Replace,
    SentProfile,
    TableRoles,
    TaskFilter,
    TrainAccepted,
)
from gan_lab.server.operation import LabHandler, operation
from gan_lab.workspace.profile_repair import normalise_profile
from gan_lab.workspace.profiles import (
    Profile,
    load_profile,
    parse_yaml,
    profile_path,
    write_profile,
)
from gan_lab.workspace.runs import newest_run, open_run

if TYPE_CHECKING:
    from gan_lab.cluster.submit import Run

TABLES = ("text/csv", "application/vnd.apache.parquet")
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Nothing(LabHandler):
    """Whatever else is asked for below our paths."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Say that there is nothing here, to whom may know."""
        await super().prepare()
        raise web.HTTPError(404, "There is nothing here: see /api/gan/openapi.json.")


# ---- machines


class Machines(LabHandler):
    """All machines."""

    body_limit = 100_000

    @operation("List the machines and where each stands.", list[MachineRow])
    async def get(self) -> None:
        """Answer with one object for each machine."""
        from gan_lab.cluster import catalogue

        self.answer(await self.read(lambda: catalogue.machines().to_dict("records")))

    @operation(
        "Add a machine by its profile, in JSON or YAML.",
        Profile,
        status=201,
        body=SentProfile,
        query=Replace,
        errors=(409, 413, 422),
    )
    async def post(self) -> None:
        """Write a profile that is right in every part."""
        self.check_size()
        replace = self.read_query(Replace).replace
        self.answer(await self.read(add_profile, bytes(self.body), replace), 201)


def add_profile(data: bytes, replace: bool) -> Profile:
    """Write the profile that was sent; raises `BadProfile` with everything that is wrong."""
    content = parse_yaml(data, "What was sent")
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(data)):
        # A few lines of them can stand for more than fits in memory.
        raise BadProfile("What was sent has YAML aliases (*name): write each value out.")
    profile, _ = normalise_profile(content, "that was sent")
    refuse_existing(profile.machine_id, replace)
    write_profile(profile)
    return profile


def refuse_existing(machine_id: str, replace: bool) -> None:
    """Raise `MachineExists` rather than replace a machine that nobody said to replace."""
    if profile_path(machine_id).exists() and not replace:
        raise MachineExists(
            f"There is a machine {machine_id} already: choose another id, or say ?replace=true."
        )


class Machine(LabHandler):
    """One machine."""

    @operation("Where a machine stands.", MachineStatus, errors=(404, 422))
    async def get(self, machine_id: str) -> None:
        """Answer with profile, seed, model and synthetic tables."""
        from gan_lab.cluster import catalogue

        self.answer(await self.read(catalogue.get_machine_status, machine_id))


class MachineData(LabHandler):
    """The seed table of a machine, streamed to disk as it comes."""

    _folder: tempfile.TemporaryDirectory[str] | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Make room for the table, for whoever may bring one."""
        self.body_limit = self.shared.settings.upload_limit_mb * 1_000_000
        await super().prepare()
        cast("HTTP1Connection", self.request.connection).set_max_body_size(self.body_limit + 1)
        self._folder = tempfile.TemporaryDirectory(prefix="gan-lab-upload-")
        self._table = (Path(self._folder.name) / "table").open("wb")

    def keep(self, chunk: bytes) -> None:
        """Write a piece of the table."""
        self._table.write(chunk)

    def on_finish(self) -> None:
        """Remove what was uploaded: what is kept of it lies in the workspace."""
        if self._folder is not None:
            self._table.close()
            self._folder.cleanup()
        super().on_finish()

    def on_connection_close(self) -> None:
        """Remove what came of an upload that broke off."""
        self.on_finish()
        super().on_connection_close()

    @operation(
        "Bring a machine's own table, as CSV or Parquet.",
        dict[str, Any],
        status=201,
        uploads=TABLES,
        query=TableRoles,
        errors=(409, 413, 422),
    )
    async def post(self, machine_id: str) -> None:
        """Import the table as `gan-lab import` does."""
        from gan_lab.cluster import catalogue

        self.check_size()
        roles = self.read_query(TableRoles).model_dump(exclude_unset=True)
        refuse_existing(machine_id, roles.get("replace", False))
        self._table.close()
        path = await self.read(named_by_content, Path(self._table.name), machine_id)
        self.answer(await self.read(catalogue.import_machine, machine_id, path, **roles), 201)


def named_by_content(path: Path, machine_id: str) -> Path:
    """Give an uploaded table the name that its first bytes ask for; returns its new path."""
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    return path.rename(path.with_name(f"{machine_id}.{'parquet' if parquet else 'csv'}"))


class MachineReport(LabHandler):
    """How far a machine's synthetic rows can be trusted."""

    @property
    def content_security_policy(self) -> str:
        """A page made from somebody's data: it may not act as the person who reads it."""
        return SANDBOX

    @operation("The newest report, as a page.", "text/html", errors=(404, 422))
    async def get(self, machine_id: str) -> None:
        """Answer with HTML in a sandbox."""
        page = await self.read(_report_page, machine_id)
        self.finish(page, set_content_type="text/html; charset=UTF-8")


def _report_page(machine_id: str) -> str:
    load_profile(machine_id)
    run = newest_run(machine_id, "report")
    page = run.report_html() if run else None
    if page is None:
        raise NoReport(f"{machine_id} has no report yet: `gan-lab report {machine_id}` makes one.")
    return page


# ---- starting tasks


def starts(
    kind: str, summary: str, body: type[BaseModel], answer: type[Accepted] = Accepted
) -> type[LabHandler]:
    """Return the handler of the call that starts tasks of a kind, or all of a pipeline."""

    class Start(LabHandler):
        """A call that starts tasks."""

        @operation(summary, answer, status=202, body=body, errors=(404, 409, 413, 422, 503))
        async def post(self, machine_id: str) -> None:
            """Start them and answer with the last, whose end is the end of all."""
            from gan_lab.cluster import submit

            start, options = getattr(submit, kind), self.read_body(body)
            started = await self.ask(start, machine_id, **options)
            runs = started if isinstance(started, list) else [started]
            facts = await self.read(_accepted, kind, runs, self.base_url)
            fields = answer.model_fields.keys() & facts.keys()
            self.answer(answer(**{name: facts[name] for name in fields}), 202)

    return Start


def _accepted(kind: str, runs: list[Run], base_url: str) -> dict[str, Any]:
    from gan_lab.cluster.estimate import estimate_minutes

    where = partial(url_path_join, base_url, "ws/gan/training")
    tasks = [
        ChainedTask(kind=run.spec.kind, task_id=run.task_id, websocket_url=where(run.task_id))
        for run in runs
    ]
    machine_id = runs[-1].spec.machine_id
    return {
        "machine_id": machine_id,
        "task_id": tasks[-1].task_id,
        "websocket_url": tasks[-1].websocket_url,
        "estimated_time_minutes": round(sum(estimate_minutes(run.spec) for run in runs), 3),
        "message": f"{kind} of {machine_id} started",
        "epochs": next((r.spec.config["epochs"] for r in runs if r.spec.kind == "train"), None),
        "tasks": tasks,
    }


StartSeed = starts("seed", "Simulate a machine's seed table.", SeedConfig)
StartTrain = starts(
    "train", "Train a TVAE on a machine's seed table.", TrainConfig, answer=TrainAccepted
)
StartGenerate = starts(
    "generate", "Draw train, validation and test tables from a machine's model.", GenerateConfig
)
StartPipeline = starts(
    "pipeline",
    "Seed, train, generate and report, chained on the cluster.",
    PipelineRequest,
    answer=PipelineAccepted,
)


# ---- tasks


class Tasks(LabHandler):
    """All tasks."""

    @operation("List the tasks, newest first.", list[TaskStatus], query=TaskFilter, errors=(422,))
    async def get(self) -> None:
        """Answer with where each stands."""
        wanted = self.read_query(TaskFilter)
        self.answer(await self.read(self.shared.statuses.newest, wanted.limit, wanted.machine_id))


class Task(LabHandler):
    """One task."""

    @operation("Where a task stands.", TaskStatus, errors=(404,))
    async def get(self, task_id: str) -> None:
        """Answer with its status."""
        self.answer(await self.read(self.shared.statuses.of, task_id))

    @operation("Cancel a task and what follows it.", TaskStatus, errors=(404,))
    async def delete(self, task_id: str) -> None:
        """Ask it to stop; one that has ended stays as it is."""
        from gan_lab.cluster import submit

        run = await self.read(open_run, task_id)
        self.answer(await self.ask(submit.Run.of(run).cancel))
