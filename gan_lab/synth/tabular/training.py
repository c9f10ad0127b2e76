"""The epoch loop: what every network of the package is trained with, and what makes it
resumable."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from gan_lab.errors import BadParameter, TaskFailed
from gan_lab.schema import Epoch, TrainConfig
from gan_lab.synth.network.adam import Adam, Group
from gan_lab.synth.network.device import OnCheckpoint, OnEpoch, epoch_generator, use_bfloat16
from gan_lab.synth.network.model_file import pack, part, unpack
from gan_lab.synth.network.tvae_network import Batch, Network, moved


def planned_epochs(rows: int, config: TrainConfig) -> int:
    """Return how many epochs a training runs: `epochs`, or as many as `max_steps` batches fill."""
    if not config.max_steps:
        return config.epochs
    return min(config.epochs, math.ceil(config.max_steps / math.ceil(rows / config.batch_size)))


def train(
    network: Network,
    rows: Batch,
    config: TrainConfig,
    validation: Batch | None = None,
    on_epoch: OnEpoch | None = None,
    resume: bytes | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    fingerprint: str = "",
) -> list[Epoch]:
    """Train a network for as many epochs as are planned and return what each of them said.

    `resume` continues from the bytes that a checkpoint's `state()` returned, bit for bit.
    `fingerprint` names table and configuration: a state with another one is refused. `on_epoch`
    returning True stops. Raises `TaskFailed` when the loss is not finite, `BadParameter` for a
    foreign or altered state.
    """
    trainer = Trainer(network, rows, config, validation, fingerprint)
    if resume is not None:
        trainer.restore(resume)
    while not trainer.finished:
        epoch = trainer.run_epoch()
        if on_checkpoint is not None:
            on_checkpoint(epoch.epoch, trainer.state)
        if on_epoch is not None and on_epoch(epoch):
            break
    network.eval()
    return trainer.history


class Trainer:
    """One training: the optimizer, the schedule and the epochs so far."""

    def __init__(
        self,
        network: Network,
        rows: Batch,
        config: TrainConfig,
        validation: Batch | None,
        fingerprint: str,
    ) -> None:
        self.network, self.rows, self.config = network, rows, config
        self.validation, self.fingerprint = validation, fingerprint
        self.history: list[Epoch] = []
        self.steps = math.ceil(len(rows) / config.batch_size)
        self.epochs = planned_epochs(len(rows), config)
        self.device = network.device
        self.half = use_bfloat16(config.precision, self.device)
        self.optimizer = Adam([Group(list(network.parameters()), config.l2scale)])

    @property
    def finished(self) -> bool:
        """Whether all epochs have run."""
        return len(self.history) >= self.epochs

    def run_epoch(self) -> Epoch:
        """Run one epoch; losses are summed on the device and read once, at its end."""
        started = time.perf_counter()
        self.network.train()
        number = len(self.history) + 1
        generator = epoch_generator(self.config.seed, number)
        order = moved(torch.randperm(len(self.rows), generator=generator), self.device)
        sums = torch.zeros(2, device=self.device)
        for step, chosen in enumerate(torch.split(order, self.config.batch_size)):
            progress = ((number - 1) * self.steps + step) / (self.epochs * self.steps)
            sums += self._step(self.rows[chosen], generator, progress) * len(chosen)
        reconstruction, kl = (sums / len(self.rows)).tolist()
        seconds = time.perf_counter() - started
        epoch = Epoch(
            epoch=number,
            epochs=self.epochs,
            loss=self.config.loss_factor * reconstruction + kl,
            reconstruction=reconstruction,
            kl=kl,
            validation=self._validate(),
            seconds=seconds,
            rows_per_second=len(self.rows) / seconds,
        )
        self._check(epoch)
        self.history.append(epoch)
        return epoch

    def _step(self, batch: Batch, generator: torch.Generator, progress: float) -> Tensor:
        noise = torch.randn(len(batch), self.network.embedding_dim, generator=generator)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            reconstruction, kl = self.network.losses(batch, noise)
        warm = min(1.0, progress / self.config.kl_warmup) if self.config.kl_warmup else 1.0
        loss: Tensor = self.config.loss_factor * reconstruction + warm * kl
        loss.backward()
        self.optimizer.step(self.config.learning_rate * one_cycle(progress))
        self.network.clamp_sigma()
        return torch.stack([reconstruction.detach(), kl.detach()])

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Return the loss of the held-out rows, under noise that is the same at every epoch."""
        if self.validation is None or not len(self.validation):
            return None
        generator = epoch_generator(self.config.seed, 0)
        total = torch.zeros((), device=self.device)
        for start in range(0, len(self.validation), 4096):
            batch = self.validation[slice(start, start + 4096)]
            noise = torch.randn(len(batch), self.network.embedding_dim, generator=generator)
            reconstruction, kl = self.network.losses(batch, noise)
            total += (self.config.loss_factor * reconstruction + kl) * len(batch)
        return float(total / len(self.validation))

    def _check(self, epoch: Epoch) -> None:
        if not math.isfinite(epoch.loss):
            raise TaskFailed(
                f"The loss became {epoch.loss} in epoch {epoch.epoch}: training has diverged. "
                f"Lower learning_rate (it was {self.config.learning_rate}) and look for extreme "
                "values."
            )

    def state(self) -> bytes:
        """Return everything a later `restore` needs to go on bit for bit."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in self.optimizer.state().items()}
        history = [[getattr(epoch, name) for name in Epoch.__slots__] for epoch in self.history]
        about = {"fingerprint": self.fingerprint, "half": self.half, "history": history}
        return pack(tensors, about)

    def restore(self, state: bytes) -> None:
        """Go back to the state that was saved."""
        tensors, meta = unpack(state, "The checkpoint")
        if meta["fingerprint"] != self.fingerprint:
            raise BadParameter(
                "The checkpoint belongs to another table or configuration. Start the training anew."
            )
        self.network.load_state_dict(part(tensors, "network."))
        self.optimizer.restore(part(tensors, "optimizer."))
        self.half = meta["half"]  # as it began, whatever this processor is built for
        self.history = [Epoch(*values) for values in meta["history"]]


def one_cycle(progress: float, rise: float = 0.15) -> float:
    """Return the share of the highest learning rate at this point (Smith and Topin 2018)."""
    if progress < rise:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
