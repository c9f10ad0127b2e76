"""Fleets before anything runs: for which machines, by which notebook, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gan_lab as lab
from gan_lab.errors import BadParameter, RequestError, UnknownMachine
from gan_lab.notebook.fleet.start import check_parameters, choose_machines

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = FIXTURES / "good.ipynb"
MOTORS = ["motor_abb_m3bp_002", "motor_siemens_001", "motor_siemens_1la7_001", "motor_weg_w22_003"]


@pytest.mark.parametrize(
    ("notebook", "parameters", "sentence"),
    [
        ("good", {"epoch": 3}, "no parameter 'epoch', but: machine_id, epochs"),
        ("no_parameters_cell", {}, "no cell tagged `parameters` that sets machine_id"),
        ("other_machine_parameter", {}, "no cell tagged `parameters` that sets machine_id"),
        ("absent", {}, "cannot be read as a notebook"),
    ],
)
def test_wrong_parameters_are_refused(
    notebook: str, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        check_parameters(FIXTURES / f"{notebook}.ipynb", {"motor_siemens_001": parameters})


def test_nothing_is_left_of_a_refused_fleet(home: Path) -> None:
    with pytest.raises(BadParameter):
        lab.run_fleet(["motor_*"], GOOD, {"epoch": 3})
    with pytest.raises(BadParameter, match="no notebook"):
        lab.run_fleet(["motor_*"], "absent.ipynb")
    with pytest.raises(BadParameter, match="greater than 0"):
        lab.run_fleet(["motor_*"], GOOD, at_once=0)
    assert list((home / "runs").iterdir()) == []


def test_patterns_name_machines(home: Path) -> None:
    assert choose_machines(["motor_siemens_001", "motor_*"]) == [MOTORS[1], MOTORS[0], *MOTORS[2:]]
    with pytest.raises(UnknownMachine, match="moter_"):
        choose_machines(["moter_*"])
