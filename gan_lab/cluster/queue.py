"""Between the run folders and the cluster's queue: hand over, find what is lost, cancel.

Dask's queue dies with its scheduler, so it is never the record: a run that has not ended, that
nobody holds and no queue knows is lost, and can be handed over again. The key of a run is always
the same, and a lock in its folder is held meanwhile: two who resume it at once submit it once.
"""

from __future__ import annotations

import ast
import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gan_lab.cluster import services
from gan_lab.cluster.services.embedded import log_path
from gan_lab.cluster.task_names import lost_message, lost_sentences, lost_status, task_key
from gan_lab.cluster.tasks import TASKS
from gan_lab.cluster.work import (
    NOT_STARTED,
    WaitedInVain,
    WorkerLost,
    outcome,
    reached,
    record_cancelled,
)
from gan_lab.errors import GanLabError, ServiceUnreachable, TaskFailed, UnknownTask
from gan_lab.schema import State, TaskStatus
from gan_lab.settings import Settings, load_settings
from gan_lab.store import of_each
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, open_run
from gan_lab.workspace.service_record import read_services

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

# What takes seconds does not wait behind what takes minutes.
PRIORITY = {"seed": 10, "generate": 10, "prognose": 10, "train": 0, "report": -10}
KNOWN_FOR_S = 2.0  # how long one answer of the cluster about its queue is good
LOOK_FOR_LOST_S = 5.0  # how often whoever waits asks whether what it waits for is still known
STARTING = timedelta(minutes=1)  # in which embedded workers are there
GIVEN_UP = ("worker_lost", "waited_in_vain")
WAITING = ("queued", "no-worker")
ENDED = ("memory", "erred", "forgotten")  # of Dask's states of a task
START_ONE = (
    "start one: `dask worker {} --nthreads 1 --resources TRAIN=1 --preload gan_lab.cluster.preload`"
)


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
    resource = train_resource(client)
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
                resources={resource: 1} if run.spec.kind == "train" and resource else None,
            )
        fire_and_forget(future)
        futures[task_key(run)] = future
        before = [future]
    _await_arrival(client, list(futures), settings.connect_timeout_s)
    _queue_lately.cache_clear()


def train_resource(client: Client) -> str | None:
    """Return what the resource of trainings is called, None where no worker has it.

    Dask has it in lower case where it comes from the environment
    (`DASK_DISTRIBUTED__WORKER__RESOURCES__TRAIN`).
    """
    names = {name for worker in workers_of(client).values() for name in worker.get("resources", {})}
    return next((name for name in ("TRAIN", "train") if name in names), None)


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler says of each worker, by its address, as of the last second."""
    return _asked_workers(client, int(time.monotonic()))


@lru_cache(maxsize=1)
def _asked_workers(client: Client, _second: int) -> dict[str, dict[str, Any]]:
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def _await_arrival(client: Client, keys: list[str], patience_s: float) -> None:
    """Return when the scheduler has the tasks, so that whoever asked may end at once.

    That nobody need wait for them (`fire_and_forget`) it hears a moment later; of a process that
    was ended in between it would forget them.
    """

    async def missing(keys: list[str], patience_s: float, dask_scheduler: Any) -> list[str]:
        import asyncio
        import time

        def is_kept(key: str) -> bool:
            task = dask_scheduler.tasks.get(key)
            wanted = {client.client_key for client in task.who_wants or ()} if task else set()
            return "fire-and-forget" in wanted or bool(task and task.state in ("memory", "erred"))

        until = time.monotonic() + patience_s
        while (left := [key for key in keys if not is_kept(key)]) and time.monotonic() < until:
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


@dataclass(frozen=True)
class Queue:
    """What a scheduler has: the state of each task, as Dask names it, and why it gave some up."""

    states: dict[str, str]
    reasons: dict[str, str]

    @property
    def keys(self) -> set[str]:
        """The tasks that are still to do."""
        return {key for key, state in self.states.items() if state not in ENDED}


def queue_of(client: Client, asked: Sequence[str] | None = None) -> Queue:
    """Return what the scheduler has, of the tasks that are asked for or of all.

    Raises `ServiceUnreachable`.
    """

    # By value: a scheduler of somebody else need not have this package.
    def look(
        asked: Sequence[str] | None, dask_scheduler: Any
    ) -> tuple[dict[str, str], dict[str, str]]:
        tasks = dask_scheduler.tasks
        keys = tasks if asked is None else [key for key in asked if key in tasks]
        erred = reversed(dask_scheduler.erred_tasks)  # also those that it has forgotten
        given_up = {str(task.key): task.exception_text for task in erred}
        return {str(key): tasks[key].state for key in keys}, given_up

    try:
        return Queue(*client.run_on_scheduler(look, asked))
    except (OSError, TimeoutError) as error:
        raise ServiceUnreachable(
            f"The Dask scheduler no longer answers ({type(error).__name__}). Nothing is lost: "
            "`gan-lab up` finds it or starts another, `gan-lab resume --all` goes on."
        ) from None


def queue_now(asked: Sequence[str] | None = None) -> Queue:
    """Return what the workspace's cluster has, nothing where there is no cluster.

    Raises `ServiceUnreachable`.
    """
    client = services.find_client()
    return queue_of(client, asked) if client else Queue({}, {})


def lost(found: Sequence[RunFolder] | None = None, queue: Queue | None = None) -> list[RunFolder]:
    """Return the runs that have not ended and that nobody works on or has in a queue.

    `queue`: what the cluster has, where it was asked already. What Dask itself gave up is recorded
    as failed. Raises `ServiceUnreachable`.
    """
    found = all_runs() if found is None else found
    waiting = _unheld(found)
    if not waiting:
        return []
    queue = queue or queue_now()
    missing = [run for run in waiting if task_key(run) not in queue.keys]
    for run in sorted(missing, key=lambda run: run.spec.created):  # a link behind the one before
        if why := _given_up(run, queue):
            with suppress(OSError):  # a full disk: it is lost until there is room to record why
                end(run, load_settings(), why, patient=False)
    return [run for run in missing if not run.final]


def _unheld(found: Sequence[RunFolder]) -> list[RunFolder]:
    """Return the runs that have not ended and nobody works on; one that is damaged is neither."""

    embedded = not load_settings().scheduler_address

    def waits(run: RunFolder) -> bool:
        if run.final or run.lease.held or run.spec.kind not in TASKS:
            return False
        # Each user's embedded services have a queue of their own, which nobody else can ask.
        return not (embedded and run.another_users)

    return [run for run, silent in zip(found, of_each(waits, found), strict=True) if silent]


def _given_up(run: RunFolder, queue: Queue) -> TaskFailed | None:
    """Return why Dask will not execute a task: it failed there, or what it waits for did."""
    reason = queue.reasons.get(task_key(run))
    if reason is not None:
        return WorkerLost(_readable(reason))
    with suppress(UnknownTask):  # cleaned away
        before = open_run(run.spec.after, run.path.parents[1]) if run.spec.after else None
        if before and (before.error_data() or {}).get("reason") in GIVEN_UP:
            return WaitedInVain(
                f"{NOT_STARTED} it waited for {before.spec.kind} ({before.task_id}), which failed."
            )
    return None


def _readable(reason: str) -> str:
    """Return what an exception says whose representation Dask has kept."""
    if not reason:
        return (
            "The workers that ran it died, more of them than Dask's scheduler allows: set its "
            "distributed.scheduler.allowed-failures to 1000 (`gan-lab dask-config`)."
        )
    if reason.startswith("TaskFailed("):
        with suppress(SyntaxError, ValueError):
            return str(ast.literal_eval(reason.removeprefix("TaskFailed")))
    return reason


def warn_of_what_is_lost() -> None:
    """Warn whoever has just connected of the runs that nobody works on."""
    if missing := lost():
        log.warning("%s %s", *lost_sentences(len(missing)))


@contextmanager
def warn_when_lost(waited_for: Sequence[RunFolder]) -> Iterator[None]:
    """Warn, once for each, when a task that one waits for in here is lost, or no worker is there
    for it: it may never end."""
    ended = threading.Event()

    def look() -> None:
        warned: set[str] = set()
        pause_s = 0.0
        while not ended.wait(pause_s):
            pause_s = LOOK_FOR_LOST_S
            try:
                queue = queue_now([task_key(run) for run in waited_for])
                gone = [run for run in lost(waited_for, queue) if not run.just_made]
                sentences = {lost_message(run.task_id) for run in gone}
                for sentence in (sentences | _unserved(waited_for, queue)) - warned:
                    warned.add(sentence)
                    log.warning("%s", sentence)
            except Exception as error:  # perhaps for a moment only
                log.debug("Whether anything is lost cannot be said: %s", error)

    threading.Thread(target=look, name="look-for-lost", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _unserved(waited_for: Sequence[RunFolder], queue: Queue) -> set[str]:
    """Say of what waits for a worker that is not there how to start one, or why it does not come:
    the embedded ones take a moment."""
    settings = load_settings()
    record = None if settings.scheduler_address else read_services(settings.home)
    if record and datetime.now(UTC) - datetime.fromisoformat(record.started) < STARTING:
        return set()
    waiting = [run for run in waited_for if queue.states.get(task_key(run)) in WAITING]
    client = services.find_client() if waiting else None
    if client is None or ((workers := workers_of(client)) and train_resource(client)):
        return set()
    what = "has the resource TRAIN" if workers else "is connected"
    start = (
        f"{log_path(settings.home)} says why"
        if record
        else START_ONE.format(services.scheduler_address(settings))
    )
    return {
        f"Task {run.task_id} waits, for no worker {what}: {start}."
        for run in waiting
        if not workers or run.spec.kind == "train"
    }


def statuses(found: Sequence[RunFolder]) -> list[TaskStatus]:
    """Return where tasks stand, from their folders and, where these are silent, the cluster."""
    address, queue = services.scheduler_address(load_settings()), None
    if waiting := _unheld(found):
        queue = _queue_lately(address, int(time.monotonic() / KNOWN_FOR_S))
    gone = {run.task_id for run in lost(waiting, queue) if not run.just_made} if queue else {}
    told = of_each(RunFolder.status, found)
    silent = [now.task_id in gone and now.state is not State.UNKNOWN for now in told]
    return [lost_status(now) if lost else now for now, lost in zip(told, silent, strict=True)]


@lru_cache(maxsize=1)
def _queue_lately(_address: str | None, _moment: int) -> Queue | None:
    """Return what a cluster has, once for all who ask at a moment; None where it is silent."""
    try:
        return queue_now()
    except ServiceUnreachable as error:
        log.warning("What waits may be lost: %s", error)
        return None


def cancel_run(run: RunFolder) -> None:
    """Ask a running task to stop; revoke one that waits, and what follows it."""
    settings = load_settings()
    if not run.final:
        run.ask_to_cancel()
        begun = run.last_event() is not None
        end(run, settings, "Cancelled" if begun else "Cancelled before it started")
    for later in all_runs(settings.home):
        if later.spec.after == run.task_id and not later.final:
            cancel_run(later)


def end(run: RunFolder, settings: Settings, why: str | GanLabError, patient: bool = True) -> None:
    """Record a task that nobody works on as cancelled or, with an error, as failed; one that runs
    sees the flag by itself. Whether a holder elsewhere is dead takes its lease's time to see:
    who is not `patient` leaves such a task as it is."""
    token = uuid.uuid4().hex
    while run.lease.take(token, settings.lease_s) is None:
        if run.lease.held or not patient:
            return
        time.sleep(settings.lease_s / 10)
    try:
        if not run.final:
            run.mend_logs()
            announcer = Announcer(run, settings)
            if isinstance(why, str):
                record_cancelled(run, announcer, why)
            else:
                run.fail(why)
                announcer.say("failed", message=str(why), **reached(run))
            announcer.close()
    finally:
        run.lease.drop(token)
