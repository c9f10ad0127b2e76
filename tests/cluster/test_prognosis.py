"""How long running units last, asked of a workspace: in this process, as a task, on the command
line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import gan_lab as lab
from gan_lab.cli import cli
from gan_lab.errors import BadParameter, NoModel
from gan_lab.workspace.run_folder import PROGNOSIS
from tests.synth.lives.prognosis.conftest import CONFIG, cut, lives

pytestmark = pytest.mark.slow

OPTIONS = {name: getattr(CONFIG, name) for name in CONFIG.model_fields_set if name not in ("seed",)}


@pytest.fixture(scope="module")
def press(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine of one's own, trained."""
    file = tmp_path_factory.mktemp("own") / "press.csv"
    lives(12, seed=1).to_csv(file, index=False)
    lab.import_machine("press", file, life="unit", time="hour", rul="rul")
    lab.train("press", **OPTIONS).result(timeout=200)
    return "press"


def test_the_same_answer_in_python_as_a_task_and_on_the_command_line(
    press: str, tmp_path: Path
) -> None:
    running, truth = cut(lives(6, seed=5, first=50))
    answer = lab.prognose(press, running)
    assert (answer.median - truth).abs().mean() < 10
    run = lab.prognose_task(press, running)
    result = run.result(timeout=100)
    assert (result["units"], Path(result["file_path"])) == (6, run.path / PROGNOSIS)
    written = pd.read_parquet(run.path / PROGNOSIS)
    assert written["median"].tolist() == pytest.approx(answer.median.tolist())
    assert [event.stage for event in run.events()][-1] == "completed"

    file, out = tmp_path / "running.csv", tmp_path / "rul.parquet"
    running.to_csv(file, index=False)
    said = CliRunner().invoke(cli, ["prognose", press, str(file), "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert "lives left out" in said.output
    assert pd.read_parquet(out)["median"].tolist() == pytest.approx(answer.median.tolist())
    listed = CliRunner().invoke(cli, ["prognose", press, str(file), "--json"])
    assert [row["unit"] for row in json.loads(listed.output)] == truth.index.tolist()


def test_the_report_says_what_answers_for_held_out_lives_are_worth(press: str) -> None:
    lab.generate(press, rows=600, report=False).result(timeout=200)
    view = lab.report(press)
    told = view.report.prognosis
    assert told is not None and told.lives == 2 and told.unit == "hour"
    assert told.error is not None and told.error < 15 and 0 <= (told.held or 0) <= 1
    for fan in told.fans:
        assert fan.age[-1] < fan.end and fan.median[-1] < 12
        assert all(low <= high for low, high in zip(fan.low, fan.high, strict=True))
    page = view.path.read_text()
    assert "of 2 lives that it has never seen" in page and f">{told.fans[0].life}</b>" in page


def test_rows_cannot_be_asked_and_a_machine_without_model_says_so(
    press: str, tmp_path: Path
) -> None:
    running, _ = cut(lives(2, seed=5))
    with pytest.raises(NoModel, match="gan-lab train"):
        lab.prognose("motor_weg_w22_003", running)
    plain = tmp_path / "plain.csv"
    lives(12, seed=1).drop(columns=["unit", "rul"]).to_csv(plain, index=False)
    lab.import_machine("plain", plain)
    lab.train("plain", epochs=2, batch_size=200).result(timeout=100)
    with pytest.raises(BadParameter, match="learned rows, not lives"):
        lab.prognose("plain", running)
