"""A real Valkey server that can be killed and started again, and a task that tells of itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import TaskSpec
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyChild]:
    child = ValkeyChild(tmp_path_factory.mktemp("valkey"))
    child.start()
    yield child
    child.stop()


@pytest.fixture
def settings(server: ValkeyChild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("GAN_LAB_REDIS_URL", server.url)
    return load_settings()


@pytest.fixture
def run(settings: Settings) -> RunFolder:
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id="press_7", config={})
    return create_run(spec, settings.home)


def say_some(announcer: Announcer, first: int, last: int) -> None:
    for number in range(first, last + 1):
        announcer.say("training", number, 10, f"Epoch {number}/10", epoch=number, loss=0.5)


def end(run: RunFolder, announcer: Announcer) -> None:
    run.finish({"done": True})
    announcer.say("completed", 10, 10, "Done")
    announcer.close()
