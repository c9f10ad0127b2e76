"""What a task is called on the cluster, and what is said of one that no cluster knows."""

from __future__ import annotations

from gan_lab.schema import State, TaskStatus
from gan_lab.workspace.run_folder import RunFolder


def task_key(run: RunFolder) -> str:
    """Return a task's key on the cluster, as the dashboard shows it; its kind is Dask's prefix.

    Dask takes whatever letters stand between dashes for a part of the prefix: hence the colon.
    """
    return f"{run.spec.kind}-{run.spec.machine_id}:{run.task_id[:8]}"


def lost_status(status: TaskStatus) -> TaskStatus:
    """Return the status of a run that nobody works on or has in a queue."""
    state, message = State.UNKNOWN, lost_message(status.task_id)
    return status.model_copy(update={"state": state, "status": state.status, "message": message})


def lost_sentences(count: int) -> tuple[str, str]:
    """Say that so many tasks are lost, and what to do."""
    found, them = (f"{count} tasks are", "them") if count > 1 else ("1 task is", "it")
    does = f"`gan-lab resume --all` goes on with {them}."
    return f"{found} lost: no cluster knows {them}.", does


def lost_message(task_id: str) -> str:
    """Say of one task that it is lost and what to do."""
    return f"Lost: no cluster knows it. `gan-lab resume {task_id}` continues it."
