"""`gan-lab init`: a workspace for whoever has no clone."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gan_lab.cli import cli
from gan_lab.errors import BadParameter
from gan_lab.settings import find_workspace
from gan_lab.workspace.profiles import profile_ids
from tests.conftest import ROOT


def test_an_empty_folder_becomes_a_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAN_LAB_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadParameter, match="make one here with `gan-lab init`"):
        find_workspace()
    assert CliRunner().invoke(cli, ["init"]).exit_code == 0
    assert find_workspace() == tmp_path
    assert "motor_siemens_001" in profile_ids()
    ours = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (tmp_path / "notebooks").iterdir()} == ours
    assert "/runs/" in (tmp_path / ".gitignore").read_text().splitlines()


def test_what_is_there_stays(tmp_path: Path) -> None:
    home = tmp_path / "lab"
    profile = home / "data" / "machines" / "motor_siemens_001.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("mine")
    (home / ".gitignore").write_text("mine")
    said = CliRunner().invoke(cli, ["init", str(home)]).output
    assert profile.read_text() == (home / ".gitignore").read_text() == "mine"
    assert f"{home} is a workspace" in said


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    found = CliRunner().invoke(cli, ["init", str(tmp_path / "file")])
    assert isinstance(found.exception, BadParameter) and "is a file" in str(found.exception)
