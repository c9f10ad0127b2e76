"""A profile that people bring is refused with everything that is wrong, or written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from gan_lab.errors import BadProfile, MachineExists
from gan_lab.workspace.profile_check import add_profile, profile_problems, profile_schema
from gan_lab.workspace.profiles import load_profile, parse_profile, parse_yaml

CATALOGUE = sorted((Path(__file__).parents[2] / "data" / "machines").glob("*_[0-9][0-9][0-9].yaml"))
LEVELS = {"minimum": 0, "typical": 5, "maximum": 9}


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_the_catalogue_has_no_problems_and_fits_the_schema(path: Path) -> None:
    content = parse_yaml(path.read_bytes(), path.name)
    jsonschema.validate(content, profile_schema())
    assert list(profile_problems(parse_profile(content, path.name))) == []


def test_every_contradiction_is_said_at_once() -> None:
    content = {
        "machine_id": "press_7",
        "category": "toaster",
        "sensors": {
            "a_C": LEVELS | {"typical": 99},
            "b_C": LEVELS | {"warning": 8, "critical": 7},
            "c_C": LEVELS | {"formula": "a_C + d_C"},
            "g_C": LEVELS | {"formula": "h_C + 1"},
            "h_C": LEVELS | {"formula": "g_C + 1"},
        },
        "failure_modes": {"seal": {"share": 0.5, "sensors": {"k_C": 1, "a_C": 1}}},
    }
    with pytest.raises(BadProfile) as caught:
        add_profile(yaml.safe_dump(content).encode(), "press.yaml")
    assert [line.split(":")[0].split("=")[0] for line in caught.value.problems] == [
        "category", "sensors.a_C.typical", "sensors.b_C.warning", "sensors.c_C.formula",
        "sensors", "failure_modes.seal.sensors.a_C", "failure_modes.seal.sensors.k_C",
        "failure_modes", "interval_s", "life", "states",
    ]  # fmt: skip
    text = str(caught.value)
    for words in ("toaster", "99", "d_C is no sensor", "g_C and h_C need each other's", "0.5"):
        assert words in text


def test_relations_need_columns_of_numbers_that_are_there_and_as_many_as_their_kind() -> None:
    kept = {"column": "b_C", "kind": "at least", "of": ["a_C"], "decimals": 1}
    imported = {"files": [], "rows": 10, "columns": ["a_C", "b_C", "name"]}
    content = {
        "machine_id": "press_7",
        "sensors": {"a_C": LEVELS, "b_C": LEVELS, "left_h": LEVELS},
        "roles": {"rul": "left_h"},
    }
    imported["relations"] = [kept, kept | {"of": ["name"]}, kept | {"column": "left_h"}]
    with pytest.raises(BadProfile) as caught:
        add_profile(json.dumps(content | {"imported": imported}).encode(), "press.json")
    assert [line.split(";")[0] for line in caught.value.problems] == [
        "imported.relations.1: 'name' is no sensor", "imported.relations.2: 'left_h' is no sensor",
    ]  # fmt: skip
    for wrong in (
        {"of": []},
        {"of": ["a_C", "a_C"]},
        {"kind": "sum"},
        {"kind": "rounded", "of": []},
    ):
        imported["relations"] = [kept | wrong]
        with pytest.raises(BadProfile, match="needs . column"):
            parse_profile(content | {"imported": imported}, "press.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- press", "profile="),
        ("machine_id: press_7\ncolour: red\nlife: {mean_h: long}", "no such field"),
        ("machine_id: [", "not YAML"),
        ("machine_id: &name press_7\ndescription: *name", "aliases"),
        ("[" * 25_000, "nested more than 20 deep"),  # the parser in C would end the process
        ("- " * 10_000, "nested more than 20 deep"),
        ('{"a":' * 5_000, "nested more than 20 deep"),
        ("# " + "x" * 1_000_000, "1,000,002 bytes"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadProfile, match=words):
        add_profile(text.encode(), "press.yaml")


def test_a_profile_lacks_lines_that_are_said_and_is_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    levels = "{minimum: 0, typical: 5, maximum: 9, critical: 8}"
    data = f"machine_id: press_7\nsensors: {{oil_C: {levels}}}\n".encode()
    with pytest.raises(BadProfile) as caught:
        add_profile(data, "p.yaml")
    assert len(caught.value.problems) == 4
    data += "\n".join(line.split("`")[1] for line in caught.value.problems).encode()
    profile = add_profile(data, "p.yaml")
    assert profile == load_profile("press_7") and profile.simulated
    with pytest.raises(MachineExists, match="--replace"):
        add_profile(data, "p.yaml")
    add_profile(data, "p.yaml", replace=True)
