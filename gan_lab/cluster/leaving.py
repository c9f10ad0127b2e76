"""A worker that is told to end, by a SIGTERM, its nanny or Dask, leaves without a failure."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from distributed import WorkerPlugin

if TYPE_CHECKING:
    from distributed import Worker

NAME = "gan_lab-leaving"
PATIENCE_S = 1.0  # for a scheduler that may be gone itself


class Leaving(WorkerPlugin):
    """Tells the scheduler that a worker ends, where it would else take its tasks to have killed it.

    Dask gives up a task whose workers have ended four times, however politely.
    """

    async def teardown(self, worker: Worker) -> None:
        """Take leave; the worker is closing."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await worker.scheduler.unregister(
                    address=worker.address, expected=True, close=False, stimulus_id=NAME
                )


async def end_politely(worker: Worker) -> None:
    """Have a worker take leave when it ends, and close on a SIGTERM, which would else kill it."""
    if NAME in worker.plugins:
        return
    await worker.plugin_add(Leaving(), name=NAME)
    if worker.nanny is None:
        return  # `dask worker` sees to the signal itself
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[str | None]] = []  # held, or it might be collected

    def close() -> None:
        closing.append(loop.create_task(worker.close(nanny=False, reason="SIGTERM")))

    with suppress(ValueError, RuntimeError):  # its loop is not in the main thread
        loop.add_signal_handler(signal.SIGTERM, close)
