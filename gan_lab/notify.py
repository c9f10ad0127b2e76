"""Tells whoever `GAN_LAB_NOTIFY` names that something long has ended."""

from __future__ import annotations

import logging

from gan_lab.schema import TaskStatus
from gan_lab.settings import Settings
from gan_lab.task_states import state_of

log = logging.getLogger(__name__)

LONG_S = 60.0  # what ends sooner is not worth a message


def notify(title: str, body: str, settings: Settings) -> bool:
    """Send one message to every apprise URL of the setting; True if it reached all.

    Never raises: a notifier that fails is a warning in the log, without its URL, which is a secret.
    """
    if not settings.notify.strip():
        return False
    try:
        from apprise import Apprise

        speaker = Apprise()
        understood = [speaker.add(url) for url in settings.notify.split()]
        sent = bool(speaker.notify(title=title, body=body)) and all(understood)
    except Exception as error:
        log.warning("GAN_LAB_NOTIFY failed (%s): %r was not sent.", type(error).__name__, title)
        return False
    if not sent:
        log.warning("GAN_LAB_NOTIFY: %r did not reach every address.", title)
    return sent


def tell_task_ended(status: TaskStatus, seconds: float, settings: Settings) -> bool:
    """Tell of a task that took more than a minute; a fleet speaks for its own tasks."""
    if seconds < LONG_S or status.metadata.get("fleet_id"):
        return False
    what = f"{status.metadata['kind']} of {status.metadata['machine_id']}"
    title = f"gan_lab: {what} is {state_of(status).word}"
    return notify(
        title, f"{status.message} ({seconds / 60:.0f} min, task {status.task_id})", settings
    )
