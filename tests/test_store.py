"""Paths of an object store, and a workspace that is named by one."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gan_lab.cli import main
from gan_lab.errors import BadParameter
from gan_lab.settings import find_workspace, load_settings
from gan_lab.store import Conflict, StorePath
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.runs import local_folder, workspace_mark


def test_a_path_reads_as_the_url_it_was_made_of() -> None:
    path = StorePath.of("s3://bucket/lab") / "runs" / "task.json"
    assert str(path) == "s3://bucket/lab/runs/task.json"
    assert (path.parents[1], path.stem, path.suffix) == (
        path.of("s3://bucket/lab"),
        "task",
        ".json",
    )
    assert pickle.loads(pickle.dumps(path)) == path


@pytest.mark.parametrize("url", ["gs://bucket/lab", "s3://", "https://host/lab"])
def test_what_is_no_bucket_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", url)
    with pytest.raises(BadParameter, match="give a folder, or s3://bucket/folder"):
        find_workspace()


def test_a_bucket_that_is_not_there_is_refused(
    object_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", "s3://nobodys/lab")
    with pytest.raises(BadParameter, match="no such bucket"):
        load_settings()


def test_of_two_who_write_over_the_same_one_does(bucket: StorePath) -> None:
    path = bucket / "object"
    first = path.put(b"first", None)

    def write(number: int) -> bool:
        try:
            path.put(f"{number}".encode(), first)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(8))) == 1
    with pytest.raises(Conflict):
        path.put(b"late", None)
    path.unlink()
    with pytest.raises(Conflict):
        path.put(b"late", '"a tag of what is gone"')


def test_a_store_that_writes_over_everything_is_refused(
    bucket: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: StorePath, data: bytes, over: str | None) -> str:
        path.write_bytes(data)
        return '"tag"'

    bucket.check_guards()
    monkeypatch.setattr(StorePath, "put", careless)
    with pytest.raises(BadParameter, match="does not know conditional writes"):
        workspace_mark(bucket / "lab", make=True)
    assert list(bucket.walk()) == []


def test_what_lies_below_is_found_at_its_depth(bucket: StorePath) -> None:
    names = ["lab/a.yaml", "lab/b.txt", "lab/deep/c.yaml", "labs/d.yaml"]
    for name in names:
        (bucket / name).write_bytes(b"123456")
    assert [path.name for path in (bucket / "lab").glob("*.yaml")] == ["a.yaml"]
    assert sorted(path.name for path in (bucket / "lab").glob("*")) == ["a.yaml", "b.txt", "deep"]
    assert [(str(path), size) for path, size, _ in (bucket / "lab").walk()] == [
        (f"{bucket}/{name}", 6) for name in names[:3]
    ]
    assert (bucket / "lab" / "a.yaml").read_end(2) == b"56"
    assert (bucket / "lab" / "a.yaml").read_end(100) == b"123456"
    assert (bucket / "lab").is_dir() and not (bucket / "la").is_dir()
    (bucket / "lab").remove_below()
    assert [path.name for path, _, _ in bucket.walk()] == ["d.yaml"]


def test_a_workspace_is_made_in_a_bucket(
    bucket: StorePath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["init", f"{bucket}/lab"])
    assert f"{bucket}/lab is a workspace" in capsys.readouterr().out
    monkeypatch.setenv("GAN_LAB_HOME", f"{bucket}/lab")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load_profile("motor_siemens_001").simulated
    assert load_settings().home == bucket / "lab"
    assert local_folder().parent.parent == tmp_path  # for sockets, fleets and the supervisor
