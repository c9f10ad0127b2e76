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
    with pytest.raises(BadParameter, match="no parameter 'epoch'"):
        lab.run_fleet({"motor_*": {"epoch": 3}}, GOOD)
    with pytest.raises(BadParameter, match=r"as a list: \['motor_siemens_001'\]"):
        lab.run_fleet("motor_siemens_001", GOOD)
    with pytest.raises(BadParameter, match="no notebook"):
        lab.run_fleet(["motor_*"], "absent.ipynb")
    with pytest.raises(BadParameter, match="greater than 0"):
        lab.run_fleet(["motor_*"], GOOD, at_once=0)
    assert list((home / "runs").iterdir()) == []


def test_patterns_name_machines(home: Path) -> None:
    chosen = choose_machines(["motor_siemens_001", "motor_*"])
    assert list(chosen) == [MOTORS[1], MOTORS[0], *MOTORS[2:]]
    with pytest.raises(UnknownMachine, match="moter_"):
        choose_machines(["moter_*"])


def test_a_pattern_of_a_mapping_gives_its_parameters_to_each_machine(home: Path) -> None:
    own = {"motor_*": {"epochs": 5}, MOTORS[1]: {"epochs": 9}}
    chosen = choose_machines(own, {"epochs": 1, "rows": 80})
    assert chosen == {name: {"epochs": 5, "rows": 80} for name in MOTORS} | {
        MOTORS[1]: {"epochs": 9, "rows": 80}
    }
