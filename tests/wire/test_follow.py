"""Readers of one task: past, present and end, each event once."""

from __future__ import annotations

import threading

import pytest

from gan_lab.settings import Settings
from gan_lab.wire import follow as follow_module
from gan_lab.wire.announce import Announcer
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import EVENTS, RunFolder
from tests.wire.conftest import end, say_some


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


def test_a_reader_waits_for_the_last_word_of_a_writer_who_has_recorded_the_end(
    run: RunFolder, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "CHECK_FOLDER_S", 0.1)
    announcer = Announcer(run, settings)
    run.lease.take("writer", 60)
    say_some(announcer, 1, 2)
    run.finish({})
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.extend(e.seq for e in follow(run, settings)))
    reader.start()
    reader.join(0.3)
    assert reader.is_alive()
    announcer.say("completed", 2, 2, "Done")
    run.lease.drop("writer")
    reader.join(30)
    assert seen == [1, 2, 3]


@pytest.mark.slow
def test_thirty_thousand_events_are_told_whole(run: RunFolder, settings: Settings) -> None:
    first = Announcer(run, settings).say("training", 1, 30_000, "Begun")
    with (run.path / EVENTS).open("a") as log:
        for seq in range(2, 30_000):
            event = first.model_copy(update={"seq": seq, "current": seq})
            log.write(event.model_dump_json(exclude_none=True) + "\n")
    reader = follow(run, settings)
    told = [next(reader).seq for _ in range(29_999)]
    end(run, Announcer(run, settings))
    assert [*told, *(event.seq for event in reader)] == list(range(1, 30_001))
    assert [event.seq for event in follow(run, settings, after=29_998)] == [29_999, 30_000]
