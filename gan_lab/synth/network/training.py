"""The epoch loop: what every network of the package is trained with, and what makes it
resumable."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn

from gan_lab.errors import BadParameter, TaskFailed
from gan_lab.schema import Epoch, TrainConfig
from gan_lab.synth.network.adam import Adam, Group
from gan_lab.synth.network.model_file import pack, part, unpack
from gan_lab.synth.network.schedule import EarlyStopping
from gan_lab.synth.network.tvae_network import Batch, Network, moved

OnEpoch = Callable[[Epoch], bool]
OnCheckpoint = Callable[[int, Callable[[], bytes]], None]

FAST_PACE = 4.0  # times the rate, for parameters that belong to one column
VALIDATION_ROWS = 20_000  # at most, whose loss is measured after each epoch
OTHER_TRAINING = (
    "The checkpoint belongs to another table or configuration. Start the training anew."
)


class Objective(ABC):
    """What a module learns from so many rows: `factor` times the reconstruction, and the KL.

    Parameters named in `fast` learn faster. An epoch sees each row `passes` times.
    """

    factor = 1.0
    passes = 1
    fast: tuple[str, ...] = ()

    def __init__(self, module: nn.Module, rows: int) -> None:
        self.module, self.rows = module, rows

    def before_epoch(self, epoch: int) -> None:  # noqa: B027
        """Prepare an epoch, numbered from 0."""

    @abstractmethod
    def losses(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL of the chosen rows, nats a row."""

    def after_step(self) -> None:  # noqa: B027
        """Put the parameters right after a step."""

    @abstractmethod
    def validation(self) -> float | None:
        """Return the loss of held-out rows, nats a row; None where there are none."""


class TvaeObjective(Objective):
    """The loss of a TVAE on encoded rows; that of held-out rows is under the same noise after every
    epoch."""

    def __init__(
        self, network: Network, batch: Batch, held_out: Batch, config: TrainConfig, factor: float
    ) -> None:
        super().__init__(network, len(batch))
        self.network, self.batch, self.factor, self.seed = network, batch, factor, config.seed
        order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(config.seed))
        self.held_out = held_out[order[:VALIDATION_ROWS]]

    def losses(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL of the chosen rows, nats a row."""
        return self._losses(self.batch[chosen], generator)

    def after_step(self) -> None:
        """Keep the scale of the deviations within its bounds."""
        self.network.clamp_sigma()

    def validation(self) -> float | None:
        """Return the loss of held-out rows, nats a row; None where there are none."""
        if not len(self.held_out):
            return None
        generator = torch.Generator().manual_seed(self.seed)
        reconstruction, kl = self._losses(self.held_out, generator)
        return float(self.factor * reconstruction + kl)

    def _losses(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(batch), self.network.embedding_dim, generator=generator)
        return self.network.losses(batch, noise)


class Trainer:
    """One phase of a training: an objective, its optimizer and schedule, and the epochs so far.

    Each epoch has a seed of its own, `seed` and up, so that it is the same whether or not it was
    resumed.
    """

    def __init__(
        self, objective: Objective, schedule: EarlyStopping, config: TrainConfig, seed: int
    ) -> None:
        self.objective, self.schedule = objective, schedule
        self.module, self.seed, self.epoch = objective.module, seed, 0
        self.batch_size = config.batch_size
        self.steps = math.ceil(objective.passes * objective.rows / config.batch_size)
        self.device = next(self.module.parameters()).device
        named = dict(self.module.named_parameters())
        slow = [parameter for name, parameter in named.items() if name not in objective.fast]
        fast = [named[name] for name in objective.fast]
        self.optimizer = Adam([Group(slow, config.l2scale), Group(fast, pace=FAST_PACE)])

    @property
    def finished(self) -> bool:
        """Whether the schedule is over."""
        return self.schedule.finished(self.epoch)

    def run_epoch(self) -> tuple[float, float, float | None]:
        """Run one epoch and return mean reconstruction, KL, and the loss of held-out rows.

        Losses are summed on the device and read once, at the end.
        """
        self.objective.before_epoch(self.epoch)
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        rows, passes = self.objective.rows, range(self.objective.passes)
        order = torch.cat([torch.randperm(rows, generator=generator) for _ in passes])
        sums = torch.zeros(2, device=self.device)
        for step, chosen in enumerate(moved(order, self.device).split(self.batch_size)):
            sums += self.step(chosen, generator, self.epoch * self.steps + step) * len(chosen)
        self.epoch += 1
        reconstruction, kl = (sums / len(order)).tolist()
        with torch.no_grad():
            validation = self.objective.validation()
        self.schedule.after_epoch(self.module, self.epoch, validation)
        return reconstruction, kl, validation

    def step(self, chosen: Tensor, generator: torch.Generator, batches: int) -> Tensor:
        """Learn from the chosen rows, after so many batches; return reconstruction and KL, which
        stay on the device."""
        self.optimizer.zero_grad()
        reconstruction, kl = self.objective.losses(chosen, generator)
        (self.objective.factor * reconstruction + kl).backward()
        self.optimizer.step(self.schedule.rate(batches, self.steps))
        self.objective.after_step()
        return torch.stack([reconstruction.detach(), kl.detach()])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and numbers from which `restore` goes on bit for bit."""
        best, numbers = self.schedule.state()
        parts = {"module": self.module.state_dict(), "optimizer": self.optimizer.state()}
        tensors = {
            f"{name}.{key}": value
            for name, found in {**parts, "schedule": best}.items()
            for key, value in found.items()
        }
        return tensors, {**numbers, "epoch": self.epoch}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go back to a state that was saved; raises `BadParameter` for that of another network."""
        try:
            self.module.load_state_dict(part(tensors, "module."))
            self.optimizer.restore(part(tensors, "optimizer."))
        except (RuntimeError, KeyError):
            raise BadParameter(OTHER_TRAINING) from None
        self.schedule.restore(part(tensors, "schedule."), numbers)
        self.epoch = numbers["epoch"]


class Training:
    """Phases of epochs, one after another, with one history of epochs and one kind of checkpoint.

    `on_epoch` returning True stops. `on_checkpoint(epoch, state)` may call `state()` for the bytes
    that `resume` takes. `fingerprint` names table and configuration: raises `BadParameter` for a
    state with another one, or one that was altered.
    """

    def __init__(
        self,
        fingerprint: str,
        rows: int,
        epochs: int,
        on_epoch: OnEpoch | None = None,
        resume: bytes | None = None,
        on_checkpoint: OnCheckpoint | None = None,
    ) -> None:
        self.fingerprint, self.rows, self.epochs = fingerprint, rows, epochs
        self.on_epoch, self.on_checkpoint = on_epoch, on_checkpoint
        self.history: list[Epoch] = []
        self.phase, self.stopped = 0, False
        self._done: dict[str, Tensor] = {}  # the weights of phases before this one
        self._tensors: dict[str, Tensor] = {}
        self._resumed: dict[str, Any] = {"phase": 0}
        if resume is not None:
            self._tensors, self._resumed = unpack(resume, "The checkpoint")
            if self._resumed.get("fingerprint") != fingerprint:
                raise BadParameter(OTHER_TRAINING)

    @property
    def epochs_left(self) -> int:
        """How many epochs the next phase may take."""
        return self.epochs - len(self.history)

    def run(self, trainer: Trainer) -> None:
        """Run a phase to its end, or from where the resumed training was; one that had ended then
        gets its weights back. Raises `TaskFailed` when the loss is not finite."""
        self.phase += 1
        prefix = f"phase{self.phase}."
        if self.phase <= self._resumed["phase"]:
            history = [Epoch(*values) for values in self._resumed["history"]]
            tensors, numbers = part(self._tensors, prefix), self._resumed["numbers"]
            if self.phase == self._resumed["phase"]:
                trainer.restore(tensors, numbers)
                self.history, self._tensors = history, {}
            else:
                trainer.module.load_state_dict(part(tensors, "module."))
                self.history = history[: len(history) - numbers["epoch"]]
        if self.phase >= self._resumed["phase"]:
            while not trainer.finished and not self.stopped:
                self._run_epoch(trainer)
        weights = trainer.module.state_dict()
        self._done |= {f"{prefix}module.{name}": value for name, value in weights.items()}

    def _run_epoch(self, trainer: Trainer) -> None:
        started = time.perf_counter()
        reconstruction, kl, validation = trainer.run_epoch()
        seconds = time.perf_counter() - started
        epoch = Epoch(
            epoch=len(self.history) + 1,
            epochs=self.epochs,
            loss=trainer.objective.factor * reconstruction + kl,
            reconstruction=reconstruction,
            kl=kl,
            validation=validation,
            seconds=seconds,
            rows_per_second=self.rows / seconds,
        )
        if not math.isfinite(epoch.loss):
            raise TaskFailed(
                f"The loss became {epoch.loss} in epoch {epoch.epoch}: training has diverged. "
                f"Lower learning_rate (it was {trainer.schedule.learning_rate:g}) and look for "
                "extreme values in the table."
            )
        self.history.append(epoch)
        self.stopped = bool(self.on_epoch is not None and self.on_epoch(epoch))
        if self.on_checkpoint is not None:
            self.on_checkpoint(epoch.epoch, lambda: self._state(trainer))

    def _state(self, trainer: Trainer) -> bytes:
        tensors, numbers = trainer.state()
        saved = {f"phase{self.phase}.{name}": value for name, value in tensors.items()}
        about = {"fingerprint": self.fingerprint, "phase": self.phase, "numbers": numbers}
        return pack(self._done | saved, about | {"history": [astuple(e) for e in self.history]})
