"""Whatever comes in from outside is read, or refused with a sentence: never another error.

`FUZZ_EXAMPLES=100000 pytest tests/test_fuzz.py` looks for an hour. What failed once is kept in
`.hypothesis/` and tried first.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import gan_lab as lab
from gan_lab.cluster.queue import statuses
from gan_lab.errors import GanLabError
from gan_lab.schema import CONFIGS, Event, State, TaskSpec, configure
from gan_lab.synth.network.model_file import pack, unpack
from gan_lab.workspace.formulas import evaluate, formula_names
from gan_lab.workspace.profile_check import add_profile
from gan_lab.workspace.run_folder import ERROR, EVENTS, LOG, RESULT, SPEC
from gan_lab.workspace.runs import all_runs, create_run
from tests.conftest import ROOT

often = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "25")),
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,  # the same examples each time
    suppress_health_check=list(HealthCheck),
)
PROFILE = yaml.safe_load((ROOT / "data" / "machines" / "motor_siemens_001.yaml").read_text())
TABLE = pd.DataFrame(
    {
        "unit": np.repeat(["a", "b", "c"], 20),
        "time": [*range(20)] * 3,
        "heat": np.linspace(20, 90, 60),
        "state": ["on", "off", "on"] * 20,
    }
).to_csv(index=False)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63, 1e308, float("nan")])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace without services, made once a test."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("data/machines", "runs", "notebooks"):
            (Path(folder) / name).mkdir(parents=True)
        monkeypatch.setenv("GAN_LAB_HOME", folder)
        yield Path(folder)


@st.composite
def changed(draw: st.DrawFn, content: Any) -> Any:
    """Return a tree of JSON with one thing in it replaced, removed or added."""
    if not isinstance(content, dict | list) or not content or draw(st.integers(0, 3)) == 0:
        return draw(values)
    if isinstance(content, list):
        place = draw(st.integers(0, len(content) - 1))
        return [*content[:place], draw(changed(content[place])), *content[place + 1 :]]
    name = draw(st.sampled_from(sorted(content)))
    other = draw(st.sampled_from(["replace", "remove", "add"]))
    if other == "remove":
        return {key: value for key, value in content.items() if key != name}
    if other == "add":
        return content | {draw(st.text(max_size=8)): draw(values)}
    return content | {name: draw(changed(content[name]))}


@st.composite
def torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes of which some are cut out, and others put in."""
    start, length = int(draw(st.floats(0, 1)) * len(data)), draw(st.integers(0, 40))
    return data[:start] + draw(st.binary(max_size=40)) + data[start + length :]


@often
@given(st.binary(max_size=200) | changed(PROFILE).map(lambda c: yaml.safe_dump(c).encode()))
def test_a_profile(data: bytes) -> None:
    try:
        profile = add_profile(data, "fuzz.yaml", replace=True)
    except GanLabError as error:
        assert "fuzz.yaml" in str(error)
    else:
        assert lab.machine(profile.machine_id).machine_id == profile.machine_id


@often
@given(torn(TABLE.encode()), st.sampled_from([{}, {"life": "unit", "time": "time"}]))
def test_a_table(home: Path, data: bytes, roles: dict[str, str]) -> None:
    path = home / "table.csv"
    path.write_bytes(data)
    try:
        summary = lab.import_machine("press", path, replace=True, **roles)
    except GanLabError as error:
        assert str(error)
    else:
        assert summary.rows == len(pd.read_parquet(home / "data" / "seed" / "press.parquet"))


@often
@given(st.sampled_from(sorted(CONFIGS)), st.data())
def test_the_options_of_a_task(kind: str, data: st.DataObject) -> None:
    names = [*CONFIGS[kind].model_fields, "colour"]  # type: ignore[index]
    options = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=3))
    try:
        found = configure(kind, options)
    except GanLabError as error:
        assert any(name in str(error) for name in [*options, "train=0"])
    else:
        assert configure(kind, found.model_dump()) == found


@often
@given(st.text(alphabet="ab1.9+-*/()e, sqrtminmax_[]'", max_size=40) | st.text(max_size=20))
def test_a_formula(formula: str) -> None:
    try:
        names = formula_names(formula)
    except ValueError:
        return
    columns = {name: np.array([0.0, 1.0, -3.0]) for name in names}
    assert np.isfinite(evaluate(formula, columns)).all()


EVENT = Event(
    task_id="t", seq=1, current=1, total=9, progress=10, stage="training",
    status=State.RUNNING, machine_id="press", message="Epoch 1",
)  # fmt: skip


@often
@given(torn(EVENT.model_dump_json().encode()))
def test_an_event(data: bytes) -> None:
    try:
        event = Event.model_validate_json(data)
    except ValidationError:
        return
    assert Event.model_validate_json(event.model_dump_json()) == event


@often
@given(st.sampled_from([SPEC, EVENTS, RESULT, ERROR, LOG, "lease.json"]), st.data())
def test_a_file_of_a_run(name: str, data: st.DataObject) -> None:
    """A list of runs shows what is damaged and goes on."""
    task_id = str(uuid.uuid4())
    run = create_run(TaskSpec(task_id=task_id, kind="seed", machine_id="press", config={}))
    run.append_event(EVENT)
    run.finish({"rows": 3})
    path = run.path / name
    whole = path.read_bytes() if path.exists() else b'{"token": "a", "count": 3}'
    path.write_bytes(data.draw(torn(whole)))
    found = {each.task_id for each in statuses(all_runs())}
    assert task_id in found or name == SPEC  # of another format
    shutil.rmtree(run.path)


@often
@given(st.data())
def test_a_model_file(data: st.DataObject) -> None:
    whole = pack({"weight": torch.ones(3)}, {"kind": "tabular"})
    given_bytes = data.draw(torn(whole) | st.binary(max_size=100))
    try:
        tensors, meta = unpack(given_bytes)
    except GanLabError as error:
        assert "Train anew" in str(error)
    else:
        assert given_bytes == whole and meta == {"kind": "tabular"}
        assert tensors["weight"].tolist() == [1, 1, 1]
        assert json.dumps(meta)
