"""What crosses the HTTP interface and nothing else: its answers and the parameters of its URLs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gan_lab.schema import GenerateConfig, Message, SeedConfig, TaskStatus, TrainConfig


class Refusal(Message):
    """Why a request was not done; `reason` is a word for programs, `problems` lists all of them."""

    message: str
    reason: str
    problems: list[str] = Field(default_factory=list)


class MachineRow(Message):
    """A machine in the list: what it is, and what there is of it."""

    machine_id: str
    category: str
    sensors: int
    seed_rows: int
    model: bool
    synthetic: bool
    last_run: str


class MachineStatus(Message):
    """Where a machine stands: what is not there is null."""

    machine_id: str
    profile: dict[str, Any]
    seed: dict[str, Any] | None
    model: dict[str, Any] | None
    synthetic: dict[str, Any] | None
    last_task: TaskStatus | None
    can_train: bool
    can_generate: bool


class ChainedTask(Message):
    """One task of a pipeline."""

    kind: str
    task_id: str
    websocket_url: str


class Accepted(Message):
    """Tasks were started; `task_id` is the last, whose end is the end of all.

    `estimated_time_minutes` is their own, without their wait for a worker; `epochs` are those of a
    training, `tasks` all of a pipeline.
    """

    success: bool
    machine_id: str
    task_id: str
    estimated_time_minutes: float = Field(ge=0)
    websocket_url: str
    message: str
    epochs: int = 0
    tasks: list[ChainedTask] = Field(default_factory=list)


class PipelineRequest(Message):
    """What a pipeline can be asked for; the seed table is made where there is none or `seed` is."""

    epochs: int = Field(300, strict=True, ge=1, le=1_000_000)
    seed: SeedConfig | None = None
    train: TrainConfig | None = None
    generate: GenerateConfig | None = None
    report: bool = Field(True, strict=True)


class TaskFilter(Message):
    """Which tasks to list."""

    limit: int = Field(100, ge=1, le=10_000, description="The newest so many")
    machine_id: str | None = Field(None, description="Of this machine only")


class Replace(Message):
    """Whether what is there may be replaced."""

    replace: bool = False
