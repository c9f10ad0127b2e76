"""Files take their place whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_lab.workspace.files import make_folder, write_beside, written_beside


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    with written_beside(path) as beside:
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_beside(path, "old")
    with pytest.raises(OSError, match="disk is full") as caught, written_beside(path) as beside:
        beside.write_text("half")
        raise OSError(28, "disk is full")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_only_the_owner_reads_a_secret(tmp_path: Path) -> None:
    write_beside(tmp_path / "a.txt", b"secret", mode=0o600)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600


def test_folders_are_their_owners_alone_unless_the_workspace_is_a_groups(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path / "own" / "run")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("own", "own/run")]
    assert modes == [0o700, 0o700]
    tmp_path.chmod(0o2775)
    make_folder(tmp_path / "ours" / "run")
    modes = [(tmp_path / name).stat().st_mode & 0o7777 for name in ("ours", "ours/run")]
    assert modes == [0o2770, 0o2770]  # whatever the umask
