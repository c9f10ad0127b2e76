"""What crosses the HTTP interface and nothing else: its answers and the parameters of its URLs."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from gan_lab.schema import Message


class Refusal(Message):
    """Why a request was not done; `reason` is a word for programs, `problems` lists all of them."""

    message: str
    reason: str
    problems: list[str] = Field(default_factory=list)


class Accepted(Message):
    """A task was started; `estimated_time_minutes` is its own, without its wait for a worker."""

    success: bool = True
    machine_id: str
    task_id: str
    estimated_time_minutes: float = Field(ge=0)
    websocket_url: str
    message: str


class TrainAccepted(Accepted):
    """A training was started."""

    epochs: int


class ChainedTask(Message):
    """One task of a pipeline."""

    kind: str
    task_id: str
    websocket_url: str


class PipelineAccepted(TrainAccepted):
    """A chain was started; `task_id` is its last task, whose end is the end of all."""

    tasks: list[ChainedTask]


class PipelineRequest(Message):
    """What a pipeline can be asked for."""

    epochs: int = Field(300, strict=True, ge=1, le=1_000_000)


class TaskFilter(Message):
    """Which tasks to list."""

    limit: int = Field(100, ge=1, le=10_000, description="The newest so many")
    machine_id: str | None = Field(None, description="Of this machine only")


class Replace(Message):
    """Whether what is there may be replaced."""

    replace: bool = False


class TableRoles(Replace):
    """Which columns of an uploaded table play which part; all may be left out."""

    life: str | None = Field(None, description="The column that tells the lives apart")
    time: str | None = Field(None, description="The column that rises within a life")
    rul: str | None = Field(None, description="The column of remaining useful life")
    failure: str | None = Field(None, description="The column that says how a life failed")


class SentProfile(Message):
    """A profile as people write it: what has another shape or type is put right where it can."""

    model_config = ConfigDict(extra="allow")
