"""What a fleet of one machine leaves a person with: the verdict, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_lab.cli.fleets import what_next
from gan_lab.notebook.fleet.rows import Row, figures
from gan_lab.schema import TaskSpec
from gan_lab.workspace.runs import create_run


def test_the_last_lines_say_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("runs", "notebooks", "data/machines"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / ".venv/bin/gan-lab"), "fleet"])
    runs = [
        create_run(TaskSpec(task_id=f"0000000{n}", kind=kind, machine_id="press_7", config={}))
        for n, kind in enumerate(("train", "report"))
    ]
    runs[1].finish({"verdict": "No fault found: you can use these rows."})
    row = Row(
        "press_7", "done", notebook=tmp_path / "press_7.ipynb", runs=runs, figures=figures(runs)
    )
    page = (runs[1].path / "report.html").as_uri()
    assert what_next(row).splitlines() == [
        "Verdict:             No fault found: you can use these rows.",
        f"Read the report:     {page}",
        f"See the notebook:    {tmp_path / 'press_7.ipynb'}",
        "Go on in JupyterLab: .venv/bin/gan-lab lab",
        "Draw more lives:     .venv/bin/gan-lab generate press_7 --lives 200",
    ]
    monkeypatch.setattr("sys.argv", ["__main__.py"])
    assert what_next(Row("press_7", "done")).splitlines() == [
        "Go on in JupyterLab: gan-lab lab",
        "Draw more lives:     gan-lab generate press_7 --lives 200",
    ]
