"""Between the run folders and the cluster's queue: hand over, find what is lost, resume, cancel.

Dask's queue dies with its scheduler, so it is never the record: a run that has not ended, that
nobody holds and no queue knows is lost, and can be handed over again. The key of a run is always
the same, and a lock in its folder is held meanwhile: two who resume it at once submit it once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gan_lab.cluster import services
from gan_lab.cluster.task_names import lost_message, lost_sentences, lost_status, task_key
from gan_lab.cluster.tasks import TASKS
from gan_lab.cluster.work import outcome, record_cancelled
from gan_lab.errors import RequestError, ServiceUnreachable, UnknownTask
from gan_lab.schema import State, TaskStatus
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, open_run

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

TRAIN_RESOURCE = {"TRAIN": 1}
# What takes seconds does not wait behind what takes minutes.
PRIORITY = {"seed": 10, "generate": 10, "prognose": 10, "train": 0, "report": -10}
LET_GO_TRIES = 100  # of 0.1 s: how long what has ended may be held, by a worker or as an answer
LETTING_GO_TRIES = 20  # and after how many it was not on its worker still, but in the queue
KNOWN_FOR_S = 2.0  # how long one answer of the cluster about its queue is good
LOOK_FOR_LOST_S = 20.0  # how often whoever waits asks whether what it waits for is still known


def hand_over(
    client: Client,
    chain: Iterable[RunFolder],
    settings: Settings,
    behind: Iterable[RunFolder] = (),
) -> None:
    """Give tasks to the cluster, each waiting for the one before, and see that they arrive.

    The first waits for `behind`, which the cluster has already or which has ended. Raises
    `ServiceUnreachable`.
    """
    from distributed import Future, fire_and_forget, span

    before: list[Any] = [
        outcome(run) if run.final else Future(task_key(run), client) for run in behind
    ]
    # A task that asks for what no worker has would wait for ever.
    trainers = any("TRAIN" in worker.get("resources", {}) for worker in workers_of(client))
    futures: dict[str, Future] = {}  # held, or what ends at once would be forgotten unseen
    for run in chain:
        with span(run.spec.fleet_id or "lab", run.spec.machine_id):
            future = client.submit(
                TASKS[run.spec.kind],
                run.task_id,
                settings,
                *before,
                key=task_key(run),
                pure=False,
                priority=PRIORITY[run.spec.kind],
                resources=TRAIN_RESOURCE if run.spec.kind == "train" and trainers else None,
            )
        fire_and_forget(future)
        futures[task_key(run)] = future
        before = [future]
    _await_arrival(client, list(futures), settings.connect_timeout_s)
    _keys_lately.cache_clear()


def workers_of(client: Client) -> list[dict[str, Any]]:
    """Return what the scheduler says of each worker, as of the last second."""
    return _asked_workers(client, int(time.monotonic()))


@lru_cache(maxsize=1)
def _asked_workers(client: Client, _second: int) -> list[dict[str, Any]]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


def _await_arrival(client: Client, keys: list[str], patience_s: float) -> None:
    """Return when the scheduler has the tasks, so that whoever asked may end at once."""

    async def missing(keys: list[str], patience_s: float, dask_scheduler: Any) -> list[str]:
        import asyncio
        import time

        until = time.monotonic() + patience_s
        while (left := [key for key in keys if key not in dask_scheduler.tasks]) and (
            time.monotonic() < until
        ):
            await asyncio.sleep(0.002)
        return left

    try:
        left = client.run_on_scheduler(missing, keys, patience_s)
    except (OSError, TimeoutError):
        left = keys
    if left:
        raise ServiceUnreachable(
            f"The Dask scheduler did not take {len(left)} tasks within {patience_s:g} s. "
            "They are recorded: `gan-lab resume --all` hands them over again."
        )


def known_keys(client: Client, ended: bool = False) -> list[str]:
    """Return the keys of the scheduler's tasks; `ended`: also of those it is to forget yet."""

    # By value: a scheduler of somebody else need not have this package.
    def keys(left_out: tuple[str, ...], dask_scheduler: Any) -> list[str]:
        return [str(key) for key, ts in dask_scheduler.tasks.items() if ts.state not in left_out]

    try:
        left_out = ("forgotten",) if ended else ("memory", "erred", "forgotten")
        return list(client.run_on_scheduler(keys, left_out))
    except (OSError, TimeoutError) as error:
        raise ServiceUnreachable(
            f"The Dask scheduler no longer answers ({type(error).__name__}). Nothing is lost: "
            "`gan-lab up` finds it or starts another, `gan-lab resume --all` goes on."
        ) from None


def keys_in_queue() -> frozenset[str]:
    """Return the keys that the workspace's cluster has, none where there is no cluster.

    Raises `ServiceUnreachable`.
    """
    client = services.find_client()
    return frozenset(known_keys(client)) if client else frozenset()


def lost(
    found: Sequence[RunFolder] | None = None,
    ask: Callable[[], frozenset[str] | None] = keys_in_queue,
) -> list[RunFolder]:
    """Return the runs that have not ended and that nobody works on or has in a queue.

    `ask` says what the queue has; None, where nobody can say, means that nothing is lost.
    """
    found = all_runs() if found is None else found
    waiting = [
        run
        for run in found
        if not run.final and not run.lease.held and run.spec.kind in TASKS  # else it is damaged
    ]
    if not waiting or (known := ask()) is None:
        return []
    return [run for run in waiting if task_key(run) not in known and not run.final]


def warn_of_what_is_lost() -> None:
    """Warn whoever has just connected of the runs that nobody works on."""
    if missing := lost():
        log.warning("%s %s", *lost_sentences(len(missing)))


@contextmanager
def warn_when_lost(waited_for: Sequence[RunFolder]) -> Iterator[None]:
    """Warn, once for each, when a task that one waits for in here is lost: it may never end."""
    ended = threading.Event()

    def look() -> None:
        warned: set[str] = set()
        pause_s = 0.0
        while not ended.wait(pause_s):
            pause_s = LOOK_FOR_LOST_S
            try:
                left = [run for run in waited_for if run.task_id not in warned]
                for run in lost([run for run in left if not run.just_made]):
                    warned.add(run.task_id)
                    log.warning("%s", lost_message(run.task_id))
            except Exception as error:  # perhaps for a moment only
                log.debug("Whether anything is lost cannot be said: %s", error)

    threading.Thread(target=look, name="look-for-lost", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def statuses(found: Sequence[RunFolder]) -> list[TaskStatus]:
    """Return where tasks stand, from their folders and, where these are silent, the cluster."""

    def ask() -> frozenset[str] | None:
        moment = int(time.monotonic() / KNOWN_FOR_S)
        return _keys_lately(services.scheduler_address(load_settings()), moment)

    gone = {run.task_id for run in lost(found, ask) if not run.just_made}
    told = [run.status() for run in found]
    silent = [now.task_id in gone and now.state is not State.UNKNOWN for now in told]
    return [lost_status(now) if lost else now for now, lost in zip(told, silent, strict=True)]


@lru_cache(maxsize=1)
def _keys_lately(_address: str | None, _moment: int) -> frozenset[str] | None:
    """Return what a cluster has, once for all who ask at a moment; None where it is silent."""
    try:
        return keys_in_queue()
    except ServiceUnreachable as error:
        log.warning("What waits may be lost: %s", error)
        return None


def cancel_run(run: RunFolder) -> None:
    """Ask a running task to stop; revoke one that waits, and what follows it."""
    settings = load_settings()
    if not run.final:
        run.ask_to_cancel()
        begun = run.last_event() is not None
        _revoke(run, settings, "Cancelled" if begun else "Cancelled before it started")
    for later in all_runs(settings.home):
        if later.spec.after == run.task_id and not later.final:
            cancel_run(later)


def _revoke(run: RunFolder, settings: Settings, why: str) -> None:
    """Record a task that nobody works on as cancelled; one that runs sees the flag by itself."""
    token = uuid.uuid4().hex
    if run.lease.take(token, settings.lease_s) is None:
        return
    try:
        if not run.final:
            run.mend_logs()
            announcer = Announcer(run, settings)
            record_cancelled(run, announcer, why)
            announcer.close()
    finally:
        run.lease.drop(token)


# ---- going on with what is lost


def resume(task_id: str | None = None) -> list[RunFolder]:
    """Submit again what is lost, or one named task that is lost, failed or was cancelled.

    What followed it in its chain and waited in vain goes on with it. A run that is done is never
    run twice. Returns what was submitted. Raises `UnknownTask`, `RequestError` or
    `ServiceUnreachable`.
    """
    settings = load_settings()
    client = services.get_client(settings)
    everything = all_runs(settings.home)[::-1]  # a link behind the one it waits for
    missing = {run.task_id for run in lost(everything)}
    if task_id is None:
        for run in everything:
            if run.task_id in missing and run.cancelling:  # its cluster died before it could stop
                _revoke(run, settings, "Cancelled")
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
        known = set(known_keys(client))
        queued = task_key(run) in known
        ended = run.final if was_lost else run.result_data() is not None
        if ended or run.lease.held or (queued and not run.final):
            return False
        if not (was_lost and run.cancelling):  # else its next worker sees the flag
            run.reopen()
        if not queued:  # else its place in the queue, where it was cancelled, is its place again
            waits = was_lost or run.spec.after in {one.task_id for one in taken}
            hand_over(client, [run], settings, _before(run, waits, known, settings))
        return True


def _resumable(run: RunFolder, client: Client) -> RunFolder:
    """Return a run that can be submitted again; raises `RequestError` where there is no point."""
    now = run.status()
    if now.state is State.UNKNOWN:  # it is damaged
        raise RequestError(now.message)
    if now.state is State.SUCCESS:
        raise RequestError(f"Task {run.task_id} is done: there is nothing to resume.")
    if not run.final and (run.lease.held or task_key(run) in known_keys(client)):
        raise RequestError(f"Task {run.task_id} has not ended: there is nothing to resume.")
    return run


def _await_let_go(run: RunFolder, client: Client) -> None:
    """Wait until worker and scheduler have done with a run that has ended.

    A key that the scheduler holds still, as finished, would be taken for the answer. Raises
    `RequestError` where it holds it for long.
    """
    key, patience = task_key(run), threading.Event()
    for tries in range(LET_GO_TRIES):
        waits = key in known_keys(client)  # a worker has it just now, or the queue has it still
        kept = not waits and key in known_keys(client, ended=True)
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
