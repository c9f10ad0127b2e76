"""Profiles as people write them, brought to the one shape we keep; each repair is a sentence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from gan_lab.errors import BadParameter, BadProfile, validation_problems
from gan_lab.workspace.formulas import formula_names
from gan_lab.workspace.profiles import (
    CATEGORIES,
    Driver,
    Group,
    Profile,
    Sensor,
    check_unused,
    read_yaml,
    write_profile,
)
from gan_lab.workspace.units import guess_unit

WORDS = {
    "name": "machine_id", "id": "machine_id", "specs": "rated", "specifications": "rated",
    "rated_values": "rated", "type": "category", "sampling_interval_s": "interval_s",
    "operating_states": "states", "failures": "failure_modes", "make": "manufacturer",
}  # fmt: skip
SENSOR_WORDS = {
    "min": "minimum", "max": "maximum", "nominal": "typical", "normal": "typical",
    "value": "typical", "mean": "typical", "warn": "warning", "alarm": "warning",
    "trip": "critical", "crit": "critical", "units": "unit",
}  # fmt: skip
SENSOR_FIELDS = {*SENSOR_WORDS, *Sensor.model_fields, "name"}
PARTS = ("sensors", "states", "failure_modes")
DRIVERS = get_args(Driver)
RANGE = 0.2


def normalise_profile(content: Any, source: str = "profile") -> tuple[Profile, list[str]]:
    """Return the profile in our shape and what was repaired on the way, a sentence each.

    Accepts `name` for `machine_id`, `specs` for `rated`, sensors as a list, in groups or flat, a
    sensor that is only a typical value (its range becomes +-20 %), units in the ends of names, and
    the shares of modes and states in percent. Raises `BadProfile` with everything that is wrong.
    """
    if not isinstance(content, Mapping):
        raise BadProfile(f"The profile {source} is not a mapping of fields to values.")
    repairs: list[str] = []
    fields = _renamed(content, WORDS, "", repairs)
    wanted = str(fields.get("machine_id", ""))
    machine_id = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_")
    if machine_id != wanted:
        repairs.append(f"machine_id: {wanted!r} became {machine_id!r}.")
    fields["machine_id"] = machine_id
    if isinstance(fields.get("sensors"), list):
        repairs.append("sensors: the list became a mapping by name.")
        fields["sensors"] = _by_name(fields["sensors"])
    for part in PARTS:
        if isinstance(fields.get(part), Mapping):
            items = {str(name): item for name, item in fields[part].items()}
            repair = _sensors if part == "sensors" else partial(_as_shares, part)
            fields[part] = repair(items, repairs)
    fields.setdefault("category", "imported")
    profile, problems = _check(fields)
    if problems:
        raise BadProfile(f"The profile {source} cannot be used; correct:", problems)
    return profile, repairs


def _check(fields: dict[str, Any]) -> tuple[Profile, list[str]]:
    """Return the profile, and everything wrong with it: first the parts, then the whole.

    Parts that cannot be read are left out, and the whole is judged without them.
    """
    try:
        profile = Profile.model_validate(fields)
        return profile, list(profile_problems(profile))
    except ValidationError as error:
        unreadable = {tuple(map(str, item["loc"][:2])) for item in error.errors()}
        readable = dict(fields)
        for part, *names in unreadable:
            if names and part in PARTS and isinstance(readable.get(part), dict):
                readable[part] = {k: v for k, v in readable[part].items() if k != names[0]}
            else:
                readable.pop(part, None)
        readable.setdefault("machine_id", "unreadable")
        rest = Profile.model_validate(readable)
        return rest, [*validation_problems(error, "profile"), *profile_problems(rest, unreadable)]


def add_profile(path: Path, replace: bool = False) -> tuple[Profile, list[str]]:
    """Add a machine by a hand-written YAML file; returns its profile and the repairs.

    Raises `BadProfile` with everything that is wrong, `BadParameter` where the machine exists.
    """
    if not path.is_file():
        raise BadParameter(f"There is no file {path}.")
    profile, repairs = normalise_profile(read_yaml(path), str(path))
    check_unused(profile.machine_id, replace)
    write_profile(profile)
    return profile, repairs


def profile_problems(
    profile: Profile, unreadable: Collection[tuple[str, ...]] = ()
) -> Iterator[str]:
    """Yield everything in a profile that contradicts itself: field, value and suggestion.

    `unreadable`: parts that are left out, such as `("sensors", "oil_temp_C")`, but may be named.
    """
    if profile.category not in CATEGORIES:
        yield f"category={profile.category!r}: use one of {', '.join(CATEGORIES)}."
    lost = {name for part, *names in unreadable if part == "sensors" for name in names}
    known = {*profile.sensors, *profile.rated, *DRIVERS, *lost}
    needs: dict[str, set[str]] = {}
    for name, sensor in profile.sensors.items():
        where = f"sensors.{name}"
        yield from _level_problems(where, sensor)
        try:
            needs[name] = formula_names(sensor.formula) if sensor.formula else set()
        except ValueError as error:
            yield f"{where}.formula: {error}; use + - * / ** and names."
            continue
        if unknown := sorted(needs[name] - known):
            yield (
                f"{where}.formula={sensor.formula!r}: {', '.join(unknown)} is no sensor, "
                "rated value or driver; add it to rated."
            )
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield f"sensors: {' and '.join(sorted(set(error.args[1])))} need each other's values."
    for name, mode in profile.failure_modes.items():
        for sensor_name in [item for item in mode.sensors if item not in lost]:
            where = f"failure_modes.{name}.sensors.{sensor_name}"
            if sensor_name not in profile.sensors:
                yield f"{where}: there is no such sensor; add it or remove it here."
            elif profile.sensors[sensor_name].critical is None:
                yield f"{where}: the sensor has no critical level; add one."
    for part, items in (("failure_modes", profile.failure_modes), ("states", profile.states)):
        whole = profile.imported is None and not any(part == other for other, *_ in unreadable)
        total = sum(item.share for item in items.values())
        if items and whole and abs(total - 1) > 0.01:
            yield f"{part}: the shares add up to {total:g}; make them 1."


def _level_problems(where: str, sensor: Sensor) -> Iterator[str]:
    if not sensor.minimum <= sensor.typical <= sensor.maximum:
        yield (
            f"{where}.typical={sensor.typical:g}: lies outside minimum={sensor.minimum:g} and "
            f"maximum={sensor.maximum:g}; widen the range."
        )
    if sensor.warning is not None and sensor.critical is not None:
        low, high = sorted((sensor.typical, sensor.critical))
        if not low <= sensor.warning <= high:
            yield (
                f"{where}.warning={sensor.warning:g}: lies outside typical={sensor.typical:g} "
                f"and critical={sensor.critical:g}; put it between."
            )


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a profile."""
    schema = Profile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _renamed(
    fields: Mapping[str, Any], words: Mapping[str, str], where: str, repairs: list[str]
) -> dict[str, Any]:
    renamed = {}
    for name, value in fields.items():
        ours = words.get(str(name).lower(), str(name))
        if ours != name and ours not in fields:
            repairs.append(f"{where}{name} became {ours}.")
            name = ours
        renamed[name] = value
    return renamed


def _by_name(given: list[Any]) -> dict[str, Any]:
    named = [item if isinstance(item, Mapping) else {"name": item} for item in given]
    return {str(item.get("name", f"sensor_{n}")): item for n, item in enumerate(named, 1)}


def _sensors(given: Mapping[str, Any], repairs: list[str]) -> dict[str, Any]:
    sensors: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping) and value and not SENSOR_FIELDS & set(value):
            repairs.append(f"sensors.{name}: the group became a field of its sensors.")
            group = {"group": name} if name in get_args(Group) else {}
            sensors |= {str(s): _sensor(str(s), value[s], group, repairs) for s in value}
        else:
            sensors[name] = _sensor(name, value, {}, repairs)
    return sensors


def _sensor(name: str, value: Any, group: dict[str, str], repairs: list[str]) -> Any:
    where = f"sensors.{name}."
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"typical": value}
    if not isinstance(value, Mapping):
        return value
    fields = _renamed(value, SENSOR_WORDS, where, repairs) | group
    fields.pop("name", None)
    typical = fields.get("typical")
    if isinstance(typical, int | float) and not {"minimum", "maximum"} <= set(fields):
        levels = [fields[name] for name in ("warning", "critical") if name in fields]
        inside = [typical, *(level for level in levels if isinstance(level, int | float))]
        margin = RANGE * abs(typical)
        fields.setdefault("minimum", min(inside) - margin)
        fields.setdefault("maximum", max(inside) + margin)
        repairs.append(f"{where}minimum, maximum: +-20 % of typical={typical:g} where missing.")
    if not fields.get("unit") and (unit := guess_unit(name)[0]):
        fields["unit"] = unit
        repairs.append(f"{where}unit: {unit!r}, read from the name.")
    return fields


def _as_shares(part: str, items: Mapping[str, Any], repairs: list[str]) -> dict[str, Any]:
    shares: list[Any] = [item.get("share") for item in items.values() if isinstance(item, Mapping)]
    if not shares or not all(isinstance(share, int | float) for share in shares):
        return dict(items)
    if abs(sum(shares) - 100) > 1:
        return dict(items)
    repairs.append(f"{part}: the shares in percent became fractions.")
    return {name: {**item, "share": item["share"] / 100} for name, item in items.items()}
