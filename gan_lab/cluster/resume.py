"""Go on with what is lost, failed or was cancelled: hand its run over again, once."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gan_lab.cluster import services
from gan_lab.cluster.queue import end, hand_over, lost, queue_of, workers_of
from gan_lab.cluster.sight import refuse_unfit_workers
from gan_lab.cluster.task_names import task_key
from gan_lab.errors import RequestError, UnknownTask
from gan_lab.schema import State
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, open_run

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

LET_GO_TRIES = 100  # of 0.1 s: how long what has ended may be held, by a worker or as an answer
LETTING_GO_TRIES = 20  # and after how many it was not on its worker still, but in the queue


def resume(task_id: str | None = None) -> list[RunFolder]:
    """Submit again what is lost, or one named task that is lost, failed or was cancelled.

    What followed it in its chain and waited in vain goes on with it. A run that is done is never
    run twice. Returns what was submitted. Raises `UnknownTask`, `RequestError` or
    `ServiceUnreachable`.
    """
    settings = load_settings()
    client = services.get_client(settings)
    refuse_unfit_workers(client, list(workers_of(client)), settings)
    everything = all_runs(settings.home)[::-1]  # a link behind the one it waits for
    missing = {run.task_id for run in lost(everything)}
    if task_id is None:
        for run in everything:
            if run.task_id in missing and run.cancelling:  # its cluster died before it could stop
                end(run, settings, "Cancelled")
    wanted = set(missing)
    if task_id is not None:
        wanted = {_resumable(open_run(task_id, settings.home), client).task_id}
    for run in everything:
        if run.spec.after in wanted and (_waited_in_vain(run) or run.task_id in missing):
            wanted.add(run.task_id)
    taken: list[RunFolder] = []
    for run in everything:
        if run.task_id in wanted:
            try:
                if _take_up(run, run.task_id in missing, taken, client, settings):
                    taken.append(run)
            except RequestError as error:
                if run.task_id == task_id:
                    raise
                log.warning("%s", error)
    if task_id is not None and not taken:
        raise RequestError(f"Task {task_id} has been taken up by somebody else meanwhile.")
    return taken


def _take_up(
    run: RunFolder, was_lost: bool, taken: list[RunFolder], client: Client, settings: Settings
) -> bool:
    """Hand a run over behind those `taken` up, unless somebody else has since it was found."""
    _await_let_go(run, client)
    with run.lease.claim():
        known = queue_of(client).keys
        queued = task_key(run) in known
        ended = run.final if was_lost else run.result_data() is not None
        if ended or run.lease.held or (queued and not run.final):
            return False
        _forget_reason(client, task_key(run))
        if not (was_lost and run.cancelling):  # else its next worker sees the flag
            run.reopen()
        if not queued:  # else its place in the queue, where it was cancelled, is its place again
            waits = was_lost or run.spec.after in {one.task_id for one in taken}
            hand_over(client, [run], settings, _before(run, waits, known, settings))
        return True


def _forget_reason(client: Client, key: str) -> None:
    """Have the scheduler forget why it gave up a task, which is to be executed once more."""

    def forget(key: str, dask_scheduler: Any) -> None:
        for task in [task for task in dask_scheduler.erred_tasks if str(task.key) == key]:
            dask_scheduler.erred_tasks.remove(task)

    client.run_on_scheduler(forget, key)


def _resumable(run: RunFolder, client: Client) -> RunFolder:
    """Return a run that can be submitted again; raises `RequestError` where there is no point."""
    now = run.status()
    if now.state is State.UNKNOWN:  # it is damaged
        raise RequestError(now.message)
    if now.state is State.SUCCESS:
        raise RequestError(f"Task {run.task_id} is done: there is nothing to resume.")
    if not run.final and (run.lease.held or task_key(run) in queue_of(client).keys):
        raise RequestError(f"Task {run.task_id} has not ended: there is nothing to resume.")
    return run


def _await_let_go(run: RunFolder, client: Client) -> None:
    """Wait until worker and scheduler have done with a run that has ended.

    A key that the scheduler holds still, as finished, would be taken for the answer. Raises
    `RequestError` where it holds it for long.
    """
    key, patience = task_key(run), threading.Event()
    for tries in range(LET_GO_TRIES):
        queue = queue_of(client)
        waits = key in queue.keys  # a worker has it just now, or the queue has it still
        kept = queue.states.get(key) in ("memory", "erred")
        busy = run.lease.held or (waits and tries < LETTING_GO_TRIES)
        if not kept and not (run.final and busy):
            return
        patience.wait(0.1)
    raise RequestError(
        f"Task {run.task_id} has ended, but the cluster keeps its answer for the next of its "
        "chain, which waits for a worker. Resume it again once that has had one."
    )


def _waited_in_vain(run: RunFolder) -> bool:
    error = run.error_data()
    return error is not None and error["reason"] == "waited_in_vain"


def _before(run: RunFolder, waits: bool, known: set[str], settings: Settings) -> list[RunFolder]:
    """Return the link that a run waits for: if the cluster has it, or to be told how it ended.

    One that ended, and is asked for again by name, does not wait for what has ended as well.
    """
    with suppress(UnknownTask):  # cleaned away
        if run.spec.after is not None:
            before = open_run(run.spec.after, settings.home)
            if waits if before.final else task_key(before) in known:
                return [before]
    return []
