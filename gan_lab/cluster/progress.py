"""What a task says while it goes: steps of a hundred, and the epochs of a training."""

from __future__ import annotations

import time
from collections.abc import Callable

from gan_lab.cluster.work import Work, WorkerLeaves
from gan_lab.schema import Epoch


class Steps:
    """Says, now and then, how far a body of many small steps is; stops it when it is to stop."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._said_at = float("-inf")

    def __call__(self, share: float, what: str) -> None:
        """Say that this share is done and what comes next."""
        self.work.check()
        self.say(int(100 * share), 100, what)

    def say(self, current: int, total: int, what: str) -> None:
        """Say how much is done, unless something was said just now."""
        if time.monotonic() - self._said_at >= self.work.settings.event_every_s / 2:
            self._said_at = time.monotonic()
            self.work.say("sampling", current, total, what)


class TrainingProgress:
    """Records every epoch, says some of them, saves checkpoints, and knows where to go on."""

    def __init__(self, work: Work, epochs: int) -> None:
        self.work, self.epochs = work, epochs
        self.last: Epoch | None = None
        self.seconds_before = 0.0
        self._said_at = self._saved_at = time.monotonic()
        self._saved_epoch = self._first = 0
        self._prognosis_said = False

    def resume(self) -> bytes | None:
        """Return the state to go on from, the loss history cut to it; None: from the beginning."""
        from gan_lab.synth.network.model_file import readable

        found = self.work.run.load_checkpoint()
        if found and not readable(found[1]):
            text = "The checkpoint is of another version of gan_lab: beginning anew"
            self.work.say("initializing", 0, self.epochs, text)
            found = None
        self._saved_epoch = self._first = found[0] if found else 0
        self.work.run.keep_losses(self._first)
        self.work.run.checkpoints.drop(keep=self._first)  # a damaged one would outlive newer ones
        if found is None:
            return None
        history = self.work.run.losses()
        self.seconds_before = float(history["seconds"].sum())
        last = history.iloc[-1].to_dict()
        self.last = Epoch(**{**last, "epoch": int(last["epoch"]), "epochs": self.epochs})
        text = f"Going on from epoch {self._first}"
        self.work.say("training", self._first, self.epochs, text, epoch=self._first)
        return found[1]

    def on_epoch(self, epoch: Epoch) -> bool:
        """Record an epoch; True: stop."""
        self.work.hold()
        self.work.run.append_epoch(epoch)
        self.last, self.epochs = epoch, epoch.epochs
        if self._due(epoch):
            self._said_at = time.monotonic()
            self.work.say(
                "training",
                epoch.epoch,
                self.epochs,
                f"Epoch {epoch.epoch}/{self.epochs}, Loss: {epoch.loss:.4f}",
                epoch=epoch.epoch,
                loss=epoch.loss,
                validation=epoch.validation,
                rows_per_second=epoch.rows_per_second,
            )
        return self.work.stop.is_set() or self.work.cancelling

    def on_column(self, done: int, columns: int, name: str) -> None:
        """Say which column of a plain table has its tree; raises where the task is to stop."""
        self.work.check()
        if done == columns or time.monotonic() - self._said_at >= self.work.settings.event_every_s:
            self._said_at = time.monotonic()
            self.work.say("training", done, columns, f"Tree {done}/{columns}: {name}")

    def check_prognosis(self) -> None:
        """Say, once, that it is learned how long units last, which comes behind the epochs; raises
        where the task is to stop."""
        self.work.check()
        if self.last is not None and not self._prognosis_said:
            self._prognosis_said = True
            last, text = self.last, "Learning how long units last"
            self.work.say("training", last.epoch, self.epochs, text, epoch=last.epoch)

    def _due(self, epoch: Epoch) -> bool:
        settings = self.work.settings
        return (
            epoch.epoch in (self._first + 1, self.epochs)
            or epoch.epoch % settings.event_every_epochs == 0
            or time.monotonic() - self._said_at >= settings.event_every_s
        )

    def on_checkpoint(self, epoch: int, state: Callable[[], bytes]) -> None:
        """Save the state if it is time to, or the last time: then raises `WorkerLeaves`."""
        settings, now = self.work.settings, time.monotonic()
        leaving = self.work.leaving.is_set()
        due = leaving or now - self._saved_at >= settings.checkpoint_every_s
        if due or epoch - self._saved_epoch >= settings.checkpoint_every_epochs:
            saved = state()
            self.work.hold()
            self.work.run.save_checkpoint(epoch, saved)
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
            self.work.progressed()
        if leaving:
            raise WorkerLeaves
