"""Workers that have no disk in common with the client: a bucket is all they share."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

import gan_lab as lab
from gan_lab.cluster import services
from gan_lab.cluster.upkeep.cleaning import carry_out, plan
from gan_lab.cluster.upkeep.doctor import examine
from gan_lab.cluster.upkeep.overview import overview
from gan_lab.errors import ServiceUnreachable
from gan_lab.schema import SeedConfig, State
from gan_lab.settings import load_settings
from gan_lab.store import StorePath
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import load_profile
from tests.conftest import ROOT

from .conftest import MACHINE, TRAININGS, Start, check_events, until_epoch, worker_of

pytestmark = pytest.mark.slow


def test_nothing_is_shared_but_a_bucket(
    stock: Start, bucket: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = simulate(load_profile(MACHINE), SeedConfig(rows=800))
    hosts = {name: tmp_path / "hosts" / name for name in ("client", "first", "second", "other")}

    def worker(name: str, home: str) -> int:
        host = hosts[name]
        host.mkdir(parents=True)
        places = {"XDG_STATE_HOME": str(host), "TMPDIR": str(host), "GAN_LAB_HOME": home}
        return stock("--no-nanny", around=["env", "-C", str(host)], **places)

    home = f"{bucket}/lab"
    monkeypatch.setenv("GAN_LAB_HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", str(hosts["client"]))
    lab.import_machine("press_7", table, life="life", time="timestamp", rul="rul")
    stranger = worker("other", str(hosts["other"]))
    services.get_client().wait_for_workers(1)
    with pytest.raises(ServiceUnreachable, match="or keep the workspace in an object store"):
        lab.train("press_7")
    psutil.Process(stranger).terminate()
    psutil.Process(stranger).wait(30)

    worker("first", home)
    run = lab.train("press_7", **TRAININGS["sequential"] | {"epochs": 100})
    until_epoch(run, 12)
    died = psutil.Process(worker_of(run))
    died.kill()
    assert not run.final
    worker("second", home)
    assert run.result(timeout=200)["model_path"] == f"{home}/runs/{run.task_id}/model.safetensors"
    assert any("Going on from epoch" in event.message for event in run.events())
    assert run.losses()["epoch"].tolist() == list(range(1, 101))
    check_events(run)

    lab.generate("press_7", report=False, lives=4).result(timeout=100)
    report = lab.report("press_7")
    assert report.data["verdict"]["headline"] and str(report.path).startswith(home)
    asked = lab.prognose_task("press_7", table[table["life"] == 1].head(30))
    assert asked.result(timeout=100)["units"] == 1
    told = lab.tasks()
    assert set(told["kind"]) == {"train", "generate", "report", "prognose"}
    assert set(told["status"]) == {"success"}
    assert lab.machines().set_index("machine_id").loc["press_7", "seed_rows"] == len(table)
    unwanted = lab.train("press_7", **TRAININGS["sequential"] | {"epochs": 10_000})
    until_epoch(unwanted, 1)
    unwanted.cancel()
    assert unwanted.wait(60).status().state is State.REVOKED
    left = [path for host in hosts.values() for path in host.rglob("*") if path.is_file()]
    assert [path for path in left if path.suffix in (".parquet", ".safetensors", ".json")] == []


def test_a_fleet_and_the_services_of_this_host_work_on_a_bucket(
    bucket: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = bucket / "lab"
    profile = f"data/machines/{MACHINE}.yaml"
    (home / profile).write_bytes((ROOT / profile).read_bytes())
    for name in ("DASK_SCHEDULER_ADDRESS", "GAN_LAB_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAN_LAB_HOME", str(home))
    monkeypatch.setenv("GAN_LAB_WORKERS", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    rows = {"seed_rows": 800, "train_rows": 200, "val_rows": 50, "test_rows": 50}
    try:
        fleet = lab.run_fleet(
            [MACHINE], ROOT / "notebooks" / "machine.ipynb", {"epochs": 2, "report": False} | rows
        )
        fleet.wait(200)
        assert fleet.counts() == {"machines": 1, "done": 1}, fleet.rows()
        assert fleet.report.exists() and tmp_path in fleet.report.parents
        found = {run.spec.kind for runs in fleet.runs().values() for run in runs}
        assert found == {"seed", "train", "generate"}
        assert overview(load_settings())["runs"] == 3
        folders = [finding for finding in examine(load_settings()) if finding.check == "workspace"]
        assert all(finding.ok for finding in folders)
        assert plan(home, 0).kept and not carry_out(plan(home, 0), home)
    finally:
        services.stop_services()
