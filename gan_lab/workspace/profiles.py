"""The record of each machine: its profile, one YAML file in the workspace's `data/machines/`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from gan_lab.errors import (
    BadParameter,
    BadProfile,
    MachineExists,
    UnknownMachine,
    validation_problems,
)
from gan_lab.schema import Message, Roles
from gan_lab.settings import find_workspace
from gan_lab.workspace.files import write_beside

CATEGORIES = (
    "motor", "pump", "fan", "compressor", "cnc", "hydraulic", "conveyor", "robot", "transformer",
    "cooling_tower", "turbofan", "imported",
)  # fmt: skip
MACHINE_ID = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
SIMULATED_ROLES = Roles(
    life="life", time="timestamp", rul="rul", state="state", failure_mode="failure_mode"
)
Group = Literal["temperature", "vibration", "electrical", "hydraulic", "process", "wear"]
Driver = Literal["load", "losses", "speed", "ambient"]
Share = Annotated[float, Field(ge=0, le=1)]


class Sensor(Message):
    """One measured quantity.

    `typical` is its value on a healthy machine at rated load and speed and 20 degC; `minimum` and
    `maximum` are the measuring range. `follows` says by how much the value rises from no load to
    rated load (`load`; `losses` is the square of the load), from standstill to rated speed
    (`speed`) and per kelvin (`ambient`), each through a first-order lag of `lag_s` seconds. A
    `formula` over other sensors, rated values and load, speed, ambient replaces all that. A level
    below `typical` is a lower limit.
    """

    unit: str = ""
    group: Group = "process"
    minimum: float
    typical: float
    maximum: float
    warning: float | None = None
    critical: float | None = None
    decimals: int = Field(default=2, ge=0, le=9)
    noise: float | None = Field(default=None, ge=0, description="Standard deviation, in the unit")
    follows: dict[Driver, float] = Field(default_factory=dict)
    lag_s: float = Field(default=0, ge=0)
    formula: str | None = None
    source: str = "estimate"


class FailureMode(Message):
    """One way to fail: its share of the lives, its law of wear, and where it shows.

    `sensors`: how far each sensor has gone from typical (0) to its critical level (1) when the
    machine fails. `exponent`: the constant of the law (see `gan_lab.synth.simulator`).
    """

    share: Share
    wear: Literal["exponential", "power", "paris"] = "exponential"
    exponent: float = Field(default=4.0, gt=0)
    sensors: dict[str, float]
    source: str = "estimate"


class OperatingState(Message):
    """One operating state: its share of the time, and load and speed as fractions of rated."""

    share: Share
    load: tuple[float, float] = (0.0, 0.0)
    speed: tuple[float, float] = (0.0, 0.0)


class Life(Message):
    """How long a machine lasts: hours in service from start to failure, Weibull distributed."""

    mean_h: float = Field(gt=0)
    spread_h: float = Field(gt=0, description="Standard deviation")
    shape: float = Field(
        default=2.0, gt=0.5, description="Above 1: wear; 1: chance; below: early failures"
    )
    source: str = "estimate"


class Relation(Message):
    """What holds in every row: `column` is never below `of`, the sum of two, or another rounded, or
    copied, to its own `decimals`."""

    column: str
    kind: Literal["at least", "sum", "rounded"]
    of: list[str]
    decimals: int = Field(ge=0, le=9)

    @model_validator(mode="after")
    def _as_many_as_its_kind_needs(self) -> Relation:
        needed = 2 if self.kind == "sum" else 1
        if len(self.of) != needed:
            raise ValueError(f"of: {self.kind!r} needs {needed} columns, not {len(self.of)}")
        return self

    def __str__(self) -> str:
        sign = ">=" if self.kind == "at least" else "="
        rounded = " rounded" if self.kind == "rounded" else ""
        return f"{self.column} {sign} {' + '.join(self.of)}{rounded}"


class Imported(Message):
    """Where the seed table of an imported machine came from, and what was noticed on the way."""

    files: list[str]
    rows: int
    lives: int | None = None
    columns: list[str]
    left_out: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    time_format: str | None = None
    relations: list[Relation] = Field(default_factory=list)


class Profile(Message):
    """What is known of one machine; only what every machine has is required."""

    machine_id: str
    category: str = "imported"
    manufacturer: str = ""
    model: str = ""
    description: str = ""
    rated: dict[str, float] = Field(default_factory=dict)
    interval_s: float | None = Field(
        default=None, gt=0, description="Time from one row to the next (s)"
    )
    rul_unit: str = "h"
    life: Life | None = None
    ambient: tuple[float, float] = (20.0, 5.0)
    sensors: dict[str, Sensor] = Field(default_factory=dict)
    states: dict[str, OperatingState] = Field(default_factory=dict)
    failure_modes: dict[str, FailureMode] = Field(default_factory=dict)
    sources: list[str] = Field(default_factory=list)
    roles: Roles = SIMULATED_ROLES
    imported: Imported | None = None

    @field_validator("machine_id")
    @classmethod
    def _known_id(cls, machine_id: str) -> str:
        try:
            return check_machine_id(machine_id)
        except BadParameter as error:
            raise ValueError(str(error)) from None

    @property
    def simulated(self) -> bool:
        """Whether the profile says enough to simulate the machine."""
        return all((self.interval_s, self.life, self.sensors, self.states, self.failure_modes))

    @property
    def relations(self) -> list[Relation]:
        """What is to hold in every row; columns that play a part are never made to."""
        found, parts = self.imported.relations if self.imported else [], self.roles.columns
        return [relation for relation in found if relation.column not in parts]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2 in one respect: `off` and `on` are operating states, not booleans."""


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def check_machine_id(machine_id: str) -> str:
    """Return the id; raises `BadParameter` where it cannot name a machine (or a file)."""
    text = str(machine_id)
    if not 3 <= len(text) <= 64 or not re.fullmatch(MACHINE_ID, text):
        raise BadParameter(
            f"{text[:80]!r} is not a machine id: use 3 to 64 lower-case letters, digits "
            "and single underscores, starting with a letter, such as press_7."
        )
    return machine_id


def machines_folder() -> Path:
    """Return the workspace's folder of profiles."""
    return find_workspace() / "data" / "machines"


def profile_path(machine_id: str) -> Path:
    """Return where the profile of this machine lies; raises `BadParameter` on a bad id."""
    return machines_folder() / f"{check_machine_id(machine_id)}.yaml"


def check_unused(machine_id: str, replace: bool) -> None:
    """Raise `BadParameter` on a bad id, `MachineExists` on one in use that is to stay."""
    if profile_path(machine_id).exists() and not replace:
        raise MachineExists(
            f"There is a machine {machine_id} already: choose another id, or replace it "
            "(--replace, over HTTP ?replace=true)."
        )


def profile_ids() -> list[str]:
    """Return the ids of all machines of the workspace, sorted."""
    return sorted(path.stem for path in machines_folder().glob("*.yaml"))


def load_profile(machine_id: str) -> Profile:
    """Return a profile, which all who ask share; the file is read again when it has changed."""
    path = profile_path(machine_id)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise UnknownMachine(_unknown(machine_id)) from None
    return _read_profile(path, found.st_mtime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=1000)
def _read_profile(path: Path, *as_of: int) -> Profile:
    return parse_profile(parse_yaml(path.read_bytes(), str(path)), str(path))


def write_profile(profile: Profile) -> Path:
    """Write a machine's profile, whole or not at all; returns its path."""
    path = profile_path(profile.machine_id)
    content = profile.model_dump(mode="json", exclude_defaults=True)
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    write_beside(path, text)
    return path


def parse_yaml(data: bytes, source: str) -> Any:
    """Parse what a YAML file holds; raises `BadProfile` with the line where it is not YAML."""
    try:
        return yaml.load(data.decode("utf-8-sig"), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadProfile(f"{source} is not YAML: {' '.join(str(error).split())}.") from None


def parse_profile(content: Any, source: str) -> Profile:
    """Make a profile of what a file holds; raises `BadProfile` with everything that is wrong."""
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        problems = validation_problems(error, "profile")
        raise BadProfile(f"The profile {source} cannot be used; correct:", problems) from None


def _unknown(machine_id: str) -> str:
    known = profile_ids()
    close = get_close_matches(machine_id, known, n=3, cutoff=0.5)
    if close:
        return f"There is no machine {machine_id!r}. Did you mean {', '.join(close)}?"
    return (
        f"There is no machine {machine_id!r}; `gan-lab machines` lists the {len(known)} there are."
    )
