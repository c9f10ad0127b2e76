"""Units of measurement that the names of columns give away: `Torque [Nm]`, `flow_m3_h`."""

from __future__ import annotations

import re

from gan_lab.workspace.profiles import Group

# No "min": `pressure_min` is a minimum.
UNITS: dict[Group, dict[str, str]] = {
    "temperature": {"c": "degC", "degc": "degC", "°c": "degC", "k": "K", "f": "degF"},
    "vibration": {"mm/s": "mm/s", "mm_s": "mm/s", "g": "g", "in/s": "in/s", "in_s": "in/s"},
    "electrical": {
        "a": "A", "ma": "mA", "v": "V", "mv": "mV", "w": "W", "kw": "kW", "kva": "kVA", "hz": "Hz",
    },
    "hydraulic": {
        "bar": "bar", "mbar": "mbar", "psi": "psi", "pa": "Pa", "kpa": "kPa", "mpa": "MPa",
        "l/min": "l/min", "l_min": "l/min", "m3/h": "m3/h", "m3_h": "m3/h", "lpm": "l/min",
    },
    "wear": {"um": "um", "µm": "um", "cst": "cSt"},
    "process": {
        "rpm": "rpm", "pct": "%", "%": "%", "nm": "Nm", "n": "N", "kn": "kN", "mm": "mm", "m": "m",
        "s": "s", "h": "h", "kg": "kg", "m_s": "m/s", "m/s": "m/s", "ppm": "ppm", "deg": "deg",
        "kg_s": "kg/s", "ms": "ms", "kwh": "kWh", "t": "t",
    },
}  # fmt: skip


def guess_unit(name: str) -> tuple[str, Group]:
    """Return the unit and the group of a sensor by its name; "" where the name has none."""
    bracket = re.search(r"[\[(]([^\])]+)[\])]\s*$", name)
    parts = re.split(r"[_\s]", name)
    endings = [bracket[1]] if bracket else ["_".join(parts[-2:]), parts[-1]]
    for ending in endings if bracket or len(parts) > 1 else ():
        for group, units in UNITS.items():
            if unit := units.get(ending.strip().lower()):
                return unit, group
    square = bracket and bracket[0].startswith("[")  # (ISO) is no unit, [1/min] is one
    return (bracket[1] if bracket and square else "", "process")
