"""Profiles that people bring: checked as a whole, then written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, get_args

import yaml

from gan_lab.errors import BadProfile
from gan_lab.workspace.formulas import formula_names
from gan_lab.workspace.profiles import (
    CATEGORIES,
    Driver,
    Profile,
    Sensor,
    check_unused,
    parse_profile,
    parse_yaml,
    write_profile,
)

MAX_BYTES, MAX_DEPTH = 1_000_000, 20
OPENING = (
    yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken,
)  # fmt: skip
# What a simulation needs beside sensors, each with a line to begin from.
NEEDED = {
    "interval_s": "3600",
    "life": "{mean_h: 20000, spread_h: 8000}",
    "states": "{running: {share: 1, load: [0.8, 1], speed: [1, 1]}}",
    "failure_modes": "{wear: {share: 1, sensors: {SENSOR: 1}}}",
}
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def add_profile(data: bytes, source: str, replace: bool = False) -> Profile:
    """Add a machine by what a profile's file holds (YAML, or JSON); `source` names the file.

    Raises `BadProfile` with everything that is wrong, `MachineExists` where the machine exists.
    """
    _check_bounds(data, source)
    try:
        content = json.loads(data)  # whose `false` is no text, as it is in our YAML
    except ValueError:
        content = parse_yaml(data, source)
    profile = parse_profile(content, source)
    if problems := list(profile_problems(profile)):
        raise BadProfile(f"The profile {source} cannot be used; correct:", problems)
    check_unused(profile.machine_id, replace)
    write_profile(profile)
    return profile


def _check_bounds(data: bytes, source: str) -> None:
    """Raise `BadProfile` for what would take a parser all memory, or its stack."""
    if len(data) > MAX_BYTES:
        raise BadProfile(f"{source} has {len(data):,} bytes; a profile has {MAX_BYTES:,} at most.")
    depth = 0
    try:
        for token in yaml.scan(data):
            if isinstance(token, yaml.AliasToken):  # a few lines of them can stand for gigabytes
                raise BadProfile(f"{source} has YAML aliases (*name): write each value out.")
            depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
            if depth > MAX_DEPTH:
                raise BadProfile(f"{source} is nested more than {MAX_DEPTH} deep: no profile is.")
    except yaml.YAMLError:
        return  # whoever parses it says where


def profile_problems(profile: Profile) -> Iterator[str]:
    """Yield everything in a profile that contradicts itself: field, value and suggestion."""
    if profile.category not in CATEGORIES:
        yield f"category={profile.category!r}: use one of {', '.join(CATEGORIES)}."
    for name, sensor in profile.sensors.items():
        yield from _level_problems(f"sensors.{name}", sensor)
    yield from _formula_problems(profile)
    for place, relation in enumerate(profile.imported.relations if profile.imported else []):
        for name in (relation.column, *relation.of):
            if name not in profile.sensors or name in profile.roles.columns:
                yield f"imported.relations.{place}: {name!r} is no sensor; remove the relation."
    for name, mode in profile.failure_modes.items():
        for sensor_name in mode.sensors:
            where = f"failure_modes.{name}.sensors.{sensor_name}"
            if sensor_name not in profile.sensors:
                yield f"{where}: there is no such sensor; add it or remove it here."
            elif profile.sensors[sensor_name].critical is None:
                yield f"{where}: the sensor has no critical level; add one."
    for part, items in (("failure_modes", profile.failure_modes), ("states", profile.states)):
        total = sum(item.share for item in items.values())
        if items and profile.imported is None and abs(total - 1) > 0.01:
            yield f"{part}: the shares add up to {total:g}; make them 1."
    worn = next((name for name, sensor in profile.sensors.items() if sensor.critical), "SENSOR")
    for part, line in NEEDED.items():
        if profile.imported is None and not getattr(profile, part):
            line = line.replace("SENSOR", worn)
            yield f"{part}: is missing, and no lives can be simulated; add `{part}: {line}`."


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


def _formula_problems(profile: Profile) -> Iterator[str]:
    known = {*profile.sensors, *profile.rated, *get_args(Driver)}
    needs: dict[str, set[str]] = {}
    for name, sensor in profile.sensors.items():
        try:
            needs[name] = formula_names(sensor.formula) if sensor.formula else set()
        except ValueError as error:
            yield f"sensors.{name}.formula: {error}."
            continue
        if unknown := sorted(needs[name] - known):
            yield (
                f"sensors.{name}.formula={sensor.formula!r}: {', '.join(unknown)} is no sensor, "
                "rated value or driver; add it to rated."
            )
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield f"sensors: {' and '.join(sorted(set(error.args[1])))} need each other's values."


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a profile."""
    schema = Profile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
