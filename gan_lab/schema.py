"""Everything that crosses a process: requests, events, status, results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gan_lab.errors import BadParameter, validation_problems

Kind = Literal["seed", "train", "generate", "report", "prognose"]
Stage = Literal[
    "initializing", "training", "sampling", "writing", "completed", "failed", "cancelled"
]
FINAL_STAGES = ("completed", "failed", "cancelled")


class State(StrEnum):
    """Where a task stands, in the words of Celery, which people's programs know."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    UNKNOWN = "UNKNOWN"

    @property
    def status(self) -> str:
        """The word of the status field: RETRY is still running to whoever waits."""
        return "running" if self is State.RETRY else self.value.lower()

    @property
    def final(self) -> bool:
        """Whether the task has ended."""
        return self in (State.SUCCESS, State.FAILURE, State.REVOKED)


def utc_now(timespec: str = "milliseconds") -> str:
    """Return the present moment as the wire writes it: ISO 8601, milliseconds, Z."""
    return datetime.now(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _requested() -> str:
    """Return the moment of a request, finely enough to put the links of a chain in order."""
    return utc_now("microseconds")


class Message(BaseModel):
    """The base of all that crosses a process: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


FAILURE_NAME = re.compile(r"fail|fault|anomal|defect|breakdown", re.IGNORECASE)
"""What a column that tells failures is called."""


class Roles(Message):
    """Which column of a table plays which part, under the user's own names; None where none does.

    `life`: one unit from its start to its failure. `time`: what rises within a life. `rul`:
    remaining useful life, non-increasing within a life. `state`: operating state.
    `failure_mode`: how it ended.
    """

    life: str | None = None
    time: str | None = None
    rul: str | None = None
    state: str | None = None
    failure_mode: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that play a part."""
        return [name for name in self.model_dump().values() if name is not None]


def _split(names: Any) -> Any:
    return names.split(",") if isinstance(names, str) else names


Names = Annotated[list[str] | None, BeforeValidator(_split)]


class ImportConfig(Message):
    """What is said of a user's own table; all of it may be left out."""

    life: str | None = Field(None, description="Column that tells lives (units, runs) apart")
    time: str | None = Field(
        None, description="Column that rises within a life; by default the order of the rows counts"
    )
    rul: str | None = Field(None, description="Column of remaining useful life")
    state: str | None = Field(None, description="Column of operating states")
    time_format: str | None = Field(
        None, description="How the time is written, such as %Y.%m.%d.%H.%M.%S, where it is not seen"
    )
    failure: str | None = Field(None, description="Column that says how, or whether, a life failed")
    failure_mode: str | None = Field(
        None, description="Column of failure modes, where `failure` says only whether"
    )
    ends_in_failure: bool = Field(False, description="Every life ends with a failure")
    events: str | Any | None = Field(
        None, description="Log of failures, a table: each ends a life of its unit"
    )
    on: str | None = Field(
        None, description="Column that tells units apart, in table and log; by default `life`"
    )
    event_time: str | None = Field(None, description="Time in the log; by default `time`")
    event_sheet: str | None = Field(None, description="Sheet of a log that is an Excel workbook")
    event_kind: str | None = Field(
        None, description="Column of the log that says what happened: the failure mode"
    )
    maintenance: Names = Field(
        None, description="Kinds of events, by commas, that end a life before it fails"
    )
    columns: Names = Field(None, description="Columns to keep, by commas; by default all usable")
    leave_out: Names = Field(None, description="Columns to leave out, by commas")
    life_per_file: bool = Field(False, description="Each file is one life")
    relations: bool = Field(
        True, description="What holds between columns in every row holds in what is drawn"
    )
    sheet: str | None = Field(None, description="Sheet of an Excel workbook that has several")
    long: Names = Field(
        None, min_length=3, max_length=3,
        description="TAG,TIME,VALUE: columns of a historian's export, to be turned wide",
    )  # fmt: skip
    replace: bool = Field(False, description="Replace a machine that exists")

    @property
    def roles(self) -> Roles:
        """Which column plays which part; `failure` is the failure mode where no other is."""
        return Roles(
            life=self.life or self.on or ("life" if self.life_per_file else None),
            time=self.time or (self.long[1] if self.long else None),
            rul=self.rul,
            state=self.state,
            failure_mode=self.failure_mode or self.failure,
        )


@dataclass(frozen=True, slots=True)
class Epoch:
    """What training says after each epoch; losses are means over rows, nats (arXiv:1312.6114)."""

    epoch: int
    epochs: int
    loss: float
    reconstruction: float
    kl: float
    validation: float | None
    seconds: float
    rows_per_second: float


def _positive_shares(shares: dict[str, float] | None) -> dict[str, float] | None:
    for name, share in (shares or {}).items():
        if not 0 <= share <= 1:
            raise ValueError(f"the share of {name!r} is {share}, not between 0 and 1")
    if shares and sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"the shares add up to {sum(shares.values()):g}, more than 1")
    return shares


Shares = Annotated[dict[str, float] | None, AfterValidator(_positive_shares)]
StrictCount = Annotated[int, Field(strict=True)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31, description="Seed of the random numbers")]
FailureModes = Annotated[Shares, Field(description="Shares of the failure modes, by name")]
States = Annotated[Shares, Field(description="Shares of the operating states, by name")]
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(max_length=16)]


Value = bool | int | float | str
Condition = Value | tuple[Value, Value] | dict[str, float]
"""Of a column: a value, a range from lowest to highest, or shares of values by name."""


def _possible(conditions: dict[str, Condition] | None) -> dict[str, Condition] | None:
    for condition in (conditions or {}).values():
        if isinstance(condition, dict):
            _positive_shares(condition)
            if not condition:
                raise ValueError("there are no shares: name a value and its share")
    return conditions


class SeedConfig(Message):
    """What to simulate: rows or lives, and the shares of what is rare."""

    rows: StrictCount = Field(10_000, ge=1, le=100_000_000, description="Rows to simulate")
    lives: StrictCount | None = Field(
        None, ge=1, le=1_000_000, description="Lives to simulate, instead of rows"
    )
    seed: Seed = 0
    failure_modes: FailureModes = None


class TrainConfig(Message):
    """How to train; epochs to loss_factor mean what SDV's TVAESynthesizer means by them."""

    model: Literal["auto", "tabular", "sequential"] = Field(
        "auto", description="What to learn: rows without order, or whole lives where there are any"
    )
    epochs: StrictCount = Field(
        300,
        ge=1,
        le=1_000_000,
        description="Epochs of a network at most; that of lives ends where more do no good",
    )
    batch_size: StrictCount = Field(500, ge=2, le=1_000_000, description="Rows per step")
    decoder: Literal["trees", "network"] = Field(
        "trees",
        description="Of plain tables: trees, which draw each column from those before, or the "
        "network of SDV's TVAE",
    )
    target: str | None = Field(
        None,
        description="The column of a plain table that matters: its rare values stay as rare and as "
        "learnable; by default remaining useful life, failure mode or what is named like a failure",
    )
    embedding_dim: StrictCount = Field(
        32, ge=1, le=4096, description="Latent dimensions; SDV has 128, of which few come into use"
    )
    compress_dims: Widths | None = Field(
        None, description="Widths of the encoder's layers, by default 128,128 as SDV has it; of "
        "lives 64, for the degradation curve leaves little to learn",
    )  # fmt: skip
    decompress_dims: Widths | None = Field(
        None, description="Widths of the decoder's layers, as above"
    )
    l2scale: float = Field(1e-5, ge=0, description="Weight decay")
    loss_factor: float = Field(
        2, gt=0, description="Weight of the reconstruction beside the KL term; of lives, half of it"
    )
    seed: Seed = 0
    device: str = Field("auto", description="Of torch: auto, cpu, cuda, cuda:1")
    holdout: float = Field(
        0.2, ge=0, lt=1, description="Share of lives (or rows) kept for the report"
    )
    max_steps: StrictCount = Field(
        1_200,
        ge=0,
        description="Batches after which the decoder `network` has learned a plain table; 0: no "
        "limit, as where `epochs` are given and this is not",
    )
    learning_rate: float = Field(
        6e-3, gt=0, description="Rate that is held until it falls at the end; of lives, half of it"
    )
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the rows kept apart to watch the loss, for plain tables",
    )
    regimes: str = Field(
        "auto", description="Of lives: auto, none, or the columns whose levels make the regimes"
    )
    drivers: str = Field(
        "auto", description="Of lives: auto, none, or the columns that the others follow (a load)"
    )
    early_stopping: bool = Field(
        True, description="Of lives: held-out lives decide how many of the epochs are enough"
    )

    @model_validator(mode="after")
    def _epochs_are_meant(self) -> Self:
        """Take the limit of batches off epochs that someone asked for."""
        if "epochs" in self.model_fields_set and "max_steps" not in self.model_fields_set:
            self.max_steps = 0
        return self

    def kind(self, roles: Roles) -> str:
        """Return `sequential` or `tabular`; auto is sequential where the table has lives."""
        if self.model != "auto":
            return self.model
        return "tabular" if roles.life is None else "sequential"


CONDITIONS = ("failure_modes", "states")  # of lives


class GenerateConfig(Message):
    """How many rows (or lives) to draw for each split, and under which conditions."""

    train: StrictCount = Field(
        35_000, ge=0, le=1_000_000_000, description="Rows of the training split"
    )
    val: StrictCount = Field(
        7_500, ge=0, le=1_000_000_000, description="Rows of the validation split"
    )
    test: StrictCount = Field(7_500, ge=0, le=1_000_000_000, description="Rows of the test split")
    rows: StrictCount | None = Field(
        None,
        ge=1,
        le=3_000_000_000,
        description="Rows in all, shared by the three splits as their rows are",
    )
    lives: StrictCount | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Whole lives in all, instead of rows; each split gets one at least",
    )
    seed: Seed = 0
    failure_modes: FailureModes = None
    states: States = None
    conditions: Annotated[dict[str, Condition] | None, AfterValidator(_possible)] = Field(
        None, description="Of plain tables: a value, a range or shares of values, by column"
    )
    model_task_id: str | None = Field(
        None,
        description="The training to draw from; by default the newest that no report calls bad",
    )

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split that is wanted."""
        wanted = {"train": self.train, "val": self.val, "test": self.test}
        wanted = {name: rows for name, rows in wanted.items() if rows}
        return wanted if self.rows is None else _shared(self.rows, wanted)

    @property
    def lives_of_splits(self) -> dict[str, int] | None:
        """Lives of each split, in proportion to its rows, one at least; None where rows count."""
        if self.lives is None:
            return None
        return _shared(self.lives, self.splits)

    @property
    def asked(self) -> dict[str, Any]:
        """What the lives or rows that are drawn must meet."""
        found = {name: getattr(self, name) for name in CONDITIONS}
        found |= self.conditions or {}
        return {name: value for name, value in found.items() if value is not None}


def _shared(whole: int, parts: dict[str, int]) -> dict[str, int]:
    """Return a whole number shared as its parts are, one at least for each."""
    total = sum(parts.values())
    shared = {name: max(1, round(whole * part / total)) for name, part in parts.items()}
    if shared:
        largest = max(shared, key=lambda name: shared[name])
        shared[largest] = max(1, shared[largest] + whole - sum(shared.values()))
    return shared


class ReportConfig(Message):
    """What a report is computed with."""

    seed: Seed = 0


class PrognoseConfig(Message):
    """Which units to answer for, and by which model; the table lies in the run folder."""

    model_task_id: str | None = Field(
        None,
        description="The training to ask; by default the newest that no report calls bad",
    )


M = TypeVar("M", bound=BaseModel)
Config = SeedConfig | TrainConfig | GenerateConfig | ReportConfig | PrognoseConfig
CONFIGS: dict[str, type[Config]] = {
    "seed": SeedConfig,
    "train": TrainConfig,
    "generate": GenerateConfig,
    "report": ReportConfig,
    "prognose": PrognoseConfig,
}


def validated(model: type[M], options: dict[str, Any], act: str) -> M:
    """Return the model of these options; raises `BadParameter` naming all that is wrong."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        wrong = "; ".join(validation_problems(error, act))
        raise BadParameter(f"Cannot {act} with {wrong}.") from None


def configure(kind: str, options: dict[str, Any]) -> Config:
    """Return the configuration of a task; raises `BadParameter` naming all that is wrong."""
    config = validated(CONFIGS[kind], options, kind)
    if isinstance(config, GenerateConfig) and not config.splits:
        raise BadParameter("Cannot generate with train=0, val=0, test=0: ask for at least one row.")
    if isinstance(config, GenerateConfig) and config.lives and config.lives < len(config.splits):
        raise BadParameter(
            f"Cannot generate lives={config.lives} for {len(config.splits)} splits "
            f"({', '.join(config.splits)}), of which each needs one at least: ask for "
            f"{len(config.splits)} lives or more, or for 0 rows of a split you do not want."
        )
    return config


# What options were by default that there are no more, or that had another default.
RETIRED = {"kl_warmup": 0.1, "precision": "auto", "prior": "gmm", "embedding_dim": None}


class TaskSpec(Message):
    """What was asked for: the first file of a run folder, never changed afterwards."""

    format: int = 1
    task_id: str
    kind: Kind
    machine_id: str
    config: dict[str, Any]
    created: str = Field(default_factory=_requested)
    after: str | None = Field(None, description="The task this one waits for in a chain")
    fleet_id: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_this_version(self) -> Self:
        """Leave out options of earlier versions that asked for nothing; others are kept as said."""
        known = CONFIGS[self.kind].model_fields
        self.config = {
            name: said
            for name, said in self.config.items()
            if (said or name in known) and not (name in RETIRED and said == RETIRED[name])
        }
        return self


class Event(Message):
    """What a task says while it goes; `seq` counts from 1 without gap or repeat within a task."""

    task_id: str
    seq: int
    timestamp: str = Field(default_factory=utc_now)
    current: int
    total: int
    progress: int = Field(ge=0, le=100)
    status: State
    machine_id: str
    stage: Stage
    epoch: int | None = None
    loss: float | None = None
    validation: float | None = None
    rows_per_second: float | None = None
    attempt: int = 1
    message: str

    @property
    def final(self) -> bool:
        """Whether this is a task's last word."""
        return self.stage in FINAL_STAGES


class TaskStatus(Message):
    """Where a task stands, computed from its run folder, Dask and its last event."""

    task_id: str
    status: str
    state: State
    progress: int = Field(ge=0, le=100)
    current: int
    total: int
    message: str
    result: dict[str, Any] | None = None
    error: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class ReportResult(Message):
    """What `report` leaves: its verdict, and the figures that models are compared by.

    `quality`: mean of SDMetrics' column scores, 0 to 1. `utility`, `utility_of_lives`: R2 (average
    precision for a failure) on held-out real rows and windows. `memory`: the largest share of rows,
    windows or lives nearer to training than to held-out ones (0.5: none). `detection`: AUC (0.5:
    cannot).
    `report_path`: the page; the same for programs is `report.json` beside it.
    """

    machine_id: str
    level: Literal["good", "care", "bad"]
    verdict: str
    report_path: str
    quality: float | None
    utility: float | None
    utility_of_lives: float | None
    memory: float | None
    detection: float | None
    report_time_seconds: float


class ServiceRecord(Message):
    """What the supervisor of the embedded services leaves for whoever wants to join them."""

    pid: int
    host: str
    started: str = Field(default_factory=utc_now)
    redis_url: str = Field(repr=False)
    redis_pid: int
    scheduler_address: str
    dashboard_link: str
    workers: int
    worker_memory: str = "auto"
