"""How long will it last, over HTTP: a real Jupyter server answers a table at once."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx
import pytest

from gan_lab.schema import TaskSpec
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.workspace.run_folder import MODEL
from gan_lab.workspace.runs import create_run
from tests.synth.lives.prognosis.conftest import CONFIG, ROLES, cut, lives
from tests.synth.lives.tables import fit

PATH = "/api/gan/machines/press_31/prognose"


@pytest.fixture(scope="module")
def trained(quiet_home: Path, jupyter: object) -> SequentialTVAE:
    """The model of a training that has ended."""
    model = fit(lives(12, seed=1), ROLES, CONFIG, epochs=6)
    run = create_run(
        TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id="press_31", config={}),
        quiet_home,
    )
    model.save(run.path / MODEL)
    run.finish({"machine_id": "press_31"})
    return model


@pytest.mark.slow  # the server loads torch for it
def test_units_are_answered_as_in_python_and_a_bad_table_is_refused(
    api: httpx.Client, trained: SequentialTVAE, tmp_path: Path
) -> None:
    table = lives(12, seed=1).to_csv(index=False).encode()
    sent = api.post("/api/gan/machines/press_31/data?life=unit&time=hour&rul=rul", content=table)
    assert sent.status_code == 201, sent.text
    running, _ = cut(lives(6, seed=5, first=50))
    expected = trained.prognose(running).to_frame()
    parquet = tmp_path / "running.parquet"
    running.to_parquet(parquet)
    for body in (running.to_csv(index=False).encode(), parquet.read_bytes()):
        answer = api.post(PATH, content=body)
        assert answer.status_code == 200, answer.text
        rows = answer.json()
        assert [row["unit"] for row in rows] == expected.index.tolist()
        for name in ("age", "median", "lower", "upper", "health"):
            assert [row[name] for row in rows] == pytest.approx(expected[name].tolist(), rel=1e-3)
    refused = api.post(PATH, content=b"unit,hour,heat\n1,one,60\n")
    assert refused.status_code == 422 and "'hour'" in refused.json()["message"]
    assert api.post("/api/gan/machines/press_32/prognose", content=body).status_code == 404
