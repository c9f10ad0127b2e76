"""Profiles as people write them, brought to the one shape we keep; each repair is a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.machines import (
    CATEGORIES,
    Profile,
    parse_profile,
    profile_path,
    read_yaml,
    write_profile,
)

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
ENDINGS = {
    "c": "degC", "degc": "degC", "k": "K", "rpm": "rpm", "kw": "kW", "w": "W", "bar": "bar",
    "mbar": "mbar", "pa": "Pa", "a": "A", "v": "V", "g": "g", "um": "um", "mm": "mm", "m": "m",
    "pct": "%", "ppm": "ppm", "s": "s", "mv": "mV", "n": "N", "nm": "Nm", "kg": "kg",
    "mm_s": "mm/s", "m_s": "m/s", "in_s": "in/s", "m3_h": "m3/h", "l_min": "l/min", "cst": "cSt",
}  # fmt: skip
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
    if fields.get("sensors"):
        fields["sensors"] = _sensors(fields["sensors"], repairs)
    for name in ("failure_modes", "states"):
        if isinstance(fields.get(name), Mapping):
            fields[name] = _as_shares(fields[name], name, repairs)
    fields.setdefault("category", "imported")
    profile = parse_profile(fields, source)
    if problems := profile_problems(profile):
        raise BadProfile(f"The profile {source} cannot be used; correct:", problems)
    return profile, repairs


def add_profile(path: Path, replace: bool = False) -> tuple[Profile, list[str]]:
    """Add a machine by a hand-written YAML file; returns its profile and the repairs.

    Raises `BadProfile` with everything that is wrong, `BadParameter` where the machine exists.
    """
    if not path.is_file():
        raise BadParameter(f"There is no file {path}.")
    profile, repairs = normalise_profile(read_yaml(path), str(path))
    if profile_path(profile.machine_id).exists() and not replace:
        raise BadParameter(
            f"There is a machine {profile.machine_id} already: choose another id, or use --replace."
        )
    write_profile(profile)
    return profile, repairs


def profile_problems(profile: Profile) -> list[str]:
    """Return everything in a profile that contradicts itself: field, value and suggestion."""
    from gan_lab.formulas import formula_names

    problems = []
    if profile.category not in CATEGORIES:
        problems.append(f"category={profile.category!r}: use one of {', '.join(CATEGORIES)}.")
    known = {*profile.sensors, *profile.rated, "load", "losses", "speed", "ambient"}
    for name, sensor in profile.sensors.items():
        where = f"sensors.{name}"
        if not sensor.minimum <= sensor.typical <= sensor.maximum:
            problems.append(
                f"{where}.typical={sensor.typical:g}: lies outside minimum={sensor.minimum:g} and "
                f"maximum={sensor.maximum:g}; widen the range."
            )
        if sensor.warning is not None and sensor.critical is not None:
            between = sorted((sensor.typical, sensor.critical))
            if not between[0] <= sensor.warning <= between[1]:
                problems.append(
                    f"{where}.warning={sensor.warning:g}: lies outside typical={sensor.typical:g} "
                    f"and critical={sensor.critical:g}; put it between."
                )
        if sensor.formula:
            try:
                unknown = sorted(formula_names(sensor.formula) - known)
            except ValueError as error:
                problems.append(f"{where}.formula: {error}; use + - * / ** and names.")
                continue
            if unknown:
                problems.append(
                    f"{where}.formula={sensor.formula!r}: {', '.join(unknown)} is no sensor, "
                    "rated value or driver; add it to rated."
                )
    for name, mode in profile.failure_modes.items():
        for sensor_name in mode.sensors:
            where = f"failure_modes.{name}.sensors.{sensor_name}"
            if sensor_name not in profile.sensors:
                problems.append(f"{where}: there is no such sensor; add it or remove it here.")
            elif profile.sensors[sensor_name].critical is None:
                problems.append(f"{where}: the sensor has no critical level; add one.")
    for part, items in (("failure_modes", profile.failure_modes), ("states", profile.states)):
        total = sum(item.share for item in items.values())
        if items and profile.imported is None and abs(total - 1) > 0.01:
            problems.append(f"{part}: the shares add up to {total:g}; make them 1.")
    return problems


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


def _sensors(given: Any, repairs: list[str]) -> dict[str, Any]:
    sensors: dict[str, Any] = {}
    if isinstance(given, list):
        repairs.append("sensors: the list became a mapping by name.")
        given = {str(item.get("name", f"sensor_{n}")): item for n, item in enumerate(given, 1)}
    for name, value in given.items():
        inner = list(value.values()) if isinstance(value, Mapping) else []
        if inner and all(isinstance(item, Mapping) for item in inner) and "follows" not in value:
            repairs.append(f"sensors.{name}: the group became a field of its sensors.")
            group = {"group": name} if name in GROUPS else {}
            for sensor, fields in value.items():
                sensors[sensor] = _sensor(sensor, {**group, **fields}, repairs)
        else:
            sensors[name] = _sensor(name, value, repairs)
    return sensors


GROUPS = ("temperature", "vibration", "electrical", "hydraulic", "process", "wear")


def _sensor(name: str, value: Any, repairs: list[str]) -> Any:
    where = f"sensors.{name}."
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"typical": value}
    if not isinstance(value, Mapping):
        return value
    fields = _renamed({k: v for k, v in value.items() if k != "name"}, SENSOR_WORDS, where, repairs)
    typical = fields.get("typical")
    if isinstance(typical, int | float) and not {"minimum", "maximum"} <= set(fields):
        low, high = sorted((typical * (1 - RANGE), typical * (1 + RANGE)))
        fields.setdefault("minimum", low)
        fields.setdefault("maximum", high)
        repairs.append(f"{where}minimum, maximum: +-20 % of typical={typical:g} where missing.")
    if not fields.get("unit"):
        parts = name.lower().split("_")
        for ending in ("_".join(parts[-2:]), parts[-1]):
            if len(parts) > 1 and ending in ENDINGS:
                fields["unit"] = ENDINGS[ending]
                repairs.append(f"{where}unit: {ENDINGS[ending]!r}, read from the name.")
                break
    return fields


def _as_shares(items: Mapping[str, Any], part: str, repairs: list[str]) -> dict[str, Any]:
    shares: list[Any] = [item.get("share") for item in items.values() if isinstance(item, Mapping)]
    if not shares or not all(isinstance(share, int | float) for share in shares):
        return dict(items)
    if abs(sum(shares) - 100) > 1:
        return dict(items)
    repairs.append(f"{part}: the shares in percent became fractions.")
    return {name: {**item, "share": item["share"] / 100} for name, item in items.items()}
