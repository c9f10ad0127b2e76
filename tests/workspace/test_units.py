"""Units that the names of columns give away."""

from __future__ import annotations

import pytest

from gan_lab.workspace.units import guess_unit


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Torque [Nm]", ("Nm", "process")),
        ("Temp (°C)", ("degC", "temperature")),
        ("flow_m3_h", ("m3/h", "hydraulic")),
        ("Drehzahl [1/min]", ("1/min", "process")),
        ("Time (ISO)", ("", "process")),
        ("TP2_min", ("", "process")),
        ("g", ("", "process")),
    ],
)
def test_a_unit_is_read_from_a_name(name: str, unit: tuple[str, str]) -> None:
    assert guess_unit(name) == unit
