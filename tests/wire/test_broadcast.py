"""One reader of a task, many listeners of one loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gan_lab.settings import Settings
from gan_lab.wire.announce import Announcer
from gan_lab.wire.broadcast import Broadcast, TooSlow
from gan_lab.workspace.run_folder import RunFolder
from tests.wire.conftest import end, say_some


async def listen(broadcast: Broadcast, run: RunFolder, after: int, heard: list[int]) -> None:
    async for event in broadcast.follow(run, after):
        heard.append(event.seq)  # noqa: PERF401  (seen while it grows)


def feeds_of(run: RunFolder) -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.endswith(run.task_id)]


def test_all_listeners_hear_everything_of_one_reader(run: RunFolder, settings: Settings) -> None:
    announcer = Announcer(run, settings)
    say_some(announcer, 1, 3)

    async def scene() -> list[list[int]]:
        broadcast, heard = Broadcast(settings), [[] for _ in range(10)]
        listening = [
            asyncio.create_task(listen(broadcast, run, number % 3, mine))
            for number, mine in enumerate(heard)
        ]
        while not all(heard):
            await asyncio.sleep(0)
        assert len(feeds_of(run)) == 1
        await asyncio.to_thread(say_some, announcer, 4, 10)
        await asyncio.to_thread(end, run, announcer)
        await asyncio.wait_for(asyncio.gather(*listening), 20)
        return heard

    heard = asyncio.run(scene())
    assert heard == [list(range(1 + number % 3, 12)) for number in range(10)]


def test_a_task_that_has_ended_is_told_and_ends(run: RunFolder, settings: Settings) -> None:
    announcer, heard = Announcer(run, settings), []
    say_some(announcer, 1, 2)
    end(run, announcer)
    asyncio.run(asyncio.wait_for(listen(Broadcast(settings), run, 1, heard), 20))
    assert heard == [2, 3]


def test_who_takes_nothing_is_left_behind_and_who_takes_is_not(
    run: RunFolder, settings: Settings
) -> None:
    announcer = Announcer(run, settings)

    async def scene() -> list[int]:
        broadcast, heard = Broadcast(settings, max_waiting=3), []
        idle = broadcast.follow(run)
        first = asyncio.create_task(anext(idle))
        quick = asyncio.create_task(listen(broadcast, run, 0, heard))
        for number in range(1, 9):
            await asyncio.to_thread(say_some, announcer, number, number)
            while not heard or heard[-1] < number:
                await asyncio.sleep(0)
        assert (await first).seq == 1
        with pytest.raises(TooSlow, match="More than 3 events"):
            async for _ in idle:
                pass
        await asyncio.to_thread(end, run, announcer)
        await asyncio.wait_for(quick, 20)
        return heard

    assert asyncio.run(scene()) == list(range(1, 10))


def test_the_reader_ends_with_its_last_listener(run: RunFolder, settings: Settings) -> None:
    say_some(Announcer(run, settings), 1, 1)

    async def scene() -> None:
        events = Broadcast(settings).follow(run)
        assert (await anext(events)).seq == 1
        assert len(feeds_of(run)) == 1
        await events.aclose()

    asyncio.run(scene())
    for thread in threading.enumerate():
        if thread.name.endswith(run.task_id):
            thread.join(20)
    assert feeds_of(run) == []
