"""The wire, over a real Valkey server that is killed and started again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import Event, TaskSpec
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.wire.connection import channel, connect, stream_key
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import EVENTS, RunFolder
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


def test_an_event_is_published_and_kept_with_a_time_to_live(
    run: RunFolder, settings: Settings, server: ValkeyChild
) -> None:
    client = connect(server.url)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(channel(run.task_id))
    pubsub.get_message(timeout=1)
    announcer = Announcer(run, settings)
    said = announcer.say("training", 5, 10, "Epoch 5/10, Loss: 0.5000", epoch=5, loss=0.5)
    message = pubsub.get_message(timeout=5)
    assert message is not None
    assert Event.model_validate_json(message["data"]) == said
    wire = json.loads(message["data"])
    assert (wire["status"], wire["progress"], wire["machine_id"]) == ("RUNNING", 50, "press_7")
    assert [json.loads(fields["event"])["seq"] for _, fields in client.xrange(
        stream_key(run.task_id))] == [1]  # fmt: skip
    end(run, announcer)
    assert 0 < client.ttl(stream_key(run.task_id)) <= settings.event_ttl_s
    assert server.url.endswith("/2")


def test_a_late_reader_gets_the_past_and_then_the_live_end(
    run: RunFolder, settings: Settings
) -> None:
    announcer = Announcer(run, settings)
    say_some(announcer, 1, 5)
    seen, half = [], threading.Event()

    def finish_when_half_is_seen() -> None:
        half.wait(10)
        say_some(announcer, 6, 10)
        end(run, announcer)

    thread = threading.Thread(target=finish_when_half_is_seen)
    thread.start()
    for event in follow(run, settings):
        seen.append(event.seq)
        if event.seq == 5:
            half.set()
    thread.join()
    assert seen == list(range(1, 12))
    assert [event.seq for event in follow(run, settings, after=9)] == [10, 11]


def test_a_reader_can_be_stopped(run: RunFolder, settings: Settings) -> None:
    say_some(Announcer(run, settings), 1, 1)
    stop = threading.Event()
    for _ in follow(run, settings, stop=stop):
        stop.set()
    assert stop.is_set()


def test_redis_that_dies_costs_nothing_but_speed(
    run: RunFolder, settings: Settings, server: ValkeyChild, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer(run, settings)
    say_some(announcer, 1, 3)
    server.stop()
    try:
        say_some(announcer, 4, 6)
        warnings = [
            record for record in caplog.records if "Redis does not answer" in record.message
        ]
        assert len(warnings) == 1
    finally:
        server.start()
    announcer.close()
    again = Announcer(run, settings)
    say_some(again, 7, 7)
    end(run, again)
    assert [event.seq for event in follow(run, settings)] == list(range(1, 9))
    # The stream of a Redis that came back empty has again what readers in any language look for.
    streamed = connect(server.url).xrange(stream_key(run.task_id))
    assert [name for name, _ in streamed] == [f"{seq}-1" for seq in range(1, 9)]


def test_a_stream_is_whole_again_after_a_restart_between_two_events(
    run: RunFolder, settings: Settings, server: ValkeyChild
) -> None:
    announcer, client = Announcer(run, settings), connect(server.url)
    say_some(announcer, 1, 3)
    server.stop()
    server.start()  # at the same address, and empty
    say_some(announcer, 4, 5)
    client.config_set("maxmemory", 1)  # takes nothing more for a while
    say_some(announcer, 6, 6)
    client.config_set("maxmemory", 0)
    say_some(announcer, 7, 8)
    streamed = client.xrange(stream_key(run.task_id))
    assert [name for name, _ in streamed] == [f"{seq}-1" for seq in range(1, 9)]


def test_fifty_watchers_see_the_same(run: RunFolder, settings: Settings) -> None:
    announcer = Announcer(run, settings)
    say_some(announcer, 1, 2)
    seen: list[list[int]] = [[] for _ in range(50)]

    def watch(mine: list[int]) -> None:
        mine.extend(event.seq for event in follow(run, settings))

    threads = [threading.Thread(target=watch, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    say_some(announcer, 3, 10)
    end(run, announcer)
    for thread in threads:
        thread.join(30)
    assert seen == [list(range(1, 12))] * 50


@pytest.mark.slow
def test_a_hundred_thousand_events_are_told_whole(run: RunFolder, settings: Settings) -> None:
    first = Announcer(run, settings).say("training", 1, 100_000, "Begun")
    with (run.path / EVENTS).open("a") as log:
        for seq in range(2, 100_000):
            event = first.model_copy(update={"seq": seq, "current": seq})
            log.write(event.model_dump_json(exclude_none=True) + "\n")
    reader = follow(run, settings)
    told = [next(reader).seq for _ in range(99_999)]
    end(run, Announcer(run, settings))
    assert [*told, *(event.seq for event in reader)] == list(range(1, 100_001))
    assert [event.seq for event in follow(run, settings, after=99_998)] == [99_999, 100_000]
