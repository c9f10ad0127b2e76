"""What a task says goes into its folder and over a Valkey server that dies and comes back."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack

import pytest

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import Event
from gan_lab.settings import Settings
from gan_lab.wire.announce import Announcer
from gan_lab.wire.connection import channel, connect, stream_key
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import RunFolder
from tests.faults.conftest import until
from tests.wire.conftest import end, say_some


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


def test_redis_that_dies_costs_nothing_but_speed(
    run: RunFolder, settings: Settings, server: ValkeyChild, caplog: pytest.LogCaptureFixture
) -> None:
    announcer = Announcer(run, settings)
    say_some(announcer, 1, 3)
    server.stop()
    try:
        say_some(announcer, 4, 6)
        announcer.close()
        warnings = [
            record for record in caplog.records if "Redis does not answer" in record.message
        ]
        assert len(warnings) == 1
    finally:
        server.start()
    again = Announcer(run, settings)
    say_some(again, 7, 7)
    end(run, again)
    assert [event.seq for event in follow(run, settings)] == list(range(1, 9))
    # The stream of a Redis that came back empty has again what readers in any language look for.
    streamed = connect(server.url).xrange(stream_key(run.task_id))
    assert [name for name, _ in streamed] == [f"{seq}-1" for seq in range(1, 9)]


def test_redis_that_a_network_hides_holds_no_task_up_before_its_end(
    run: RunFolder, settings: Settings
) -> None:
    with ExitStack() as open_ones:
        hidden = open_ones.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # then it lets in nobody more, and refuses nobody
            one = open_ones.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hidden.getsockname())
        url = f"redis://127.0.0.1:{hidden.getsockname()[1]}"
        announcer = Announcer(run, settings.model_copy(update={"redis_url": url}))
        begun = time.monotonic()
        say_some(announcer, 1, 9)
        assert time.monotonic() - begun < 1
        announcer.close()
        assert time.monotonic() - begun < 6  # two timeouts, not nine
    assert len(run.events()) == 9


def test_a_stream_is_whole_again_after_a_restart_between_two_events(
    run: RunFolder, settings: Settings, server: ValkeyChild
) -> None:
    announcer, client = Announcer(run, settings), connect(server.url)
    say_some(announcer, 1, 3)
    until(lambda: client.xlen(stream_key(run.task_id)) == 3, "the first were not published")
    server.stop()
    server.start()  # at the same address, and empty
    say_some(announcer, 4, 5)
    until(lambda: client.xlen(stream_key(run.task_id)) == 5, "the stream is not whole again")
    client.config_set("maxmemory", 1)  # takes nothing more for a while
    say_some(announcer, 6, 6)
    until(lambda: "errorstat_OOM" in client.info("errorstats"), "it takes more than it may")
    client.config_set("maxmemory", 0)
    say_some(announcer, 7, 8)
    announcer.close()
    streamed = client.xrange(stream_key(run.task_id))
    assert [name for name, _ in streamed] == [f"{seq}-1" for seq in range(1, 9)]
