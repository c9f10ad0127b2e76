"""Adam, by the one kernel of torch that does a whole step.

`torch.optim.Adam` would do as well, but it imports torch's compiler first: one to three seconds of
every process that trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # as torch's own optimizer calls its state


class Group(NamedTuple):
    """Parameters that are learned alike: at so many times the rate, with so much decay."""

    parameters: Sequence[Tensor]
    weight_decay: float = 0.0
    pace: float = 1.0


class Adam:
    """Adam with its authors' betas and epsilon (Kingma and Ba 2015, arXiv:1412.6980).

    Weight decay is added to the gradient. The state is torch's own, by the number of the parameter.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = list(groups)
        self.moments = {
            each: (torch.zeros_like(each), torch.zeros_like(each), each.new_zeros(()))
            for group in self.groups
            for each in group.parameters
        }

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for each in self.moments:
            each.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at this rate."""
        for group in self.groups:
            moved = [each for each in group.parameters if each.grad is not None]
            if not moved:
                continue
            gradients = [each.grad for each in moved if each.grad is not None]
            known = (self.moments[each] for each in moved)
            averages, squares, steps = map(list, zip(*known, strict=True))
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                moved, gradients, averages, squares, [], steps,
                lr=rate * group.pace, beta1=0.9, beta2=0.999, eps=1e-8,
                weight_decay=group.weight_decay, amsgrad=False, maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Return the tensors from which `restore` goes on bit for bit."""
        numbered = enumerate(self.moments.values())
        return {
            f"{n}.{name}": value
            for n, moments in numbered
            for name, value in zip(MOMENTS, moments, strict=True)
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a state that was saved; raises `KeyError` for that of another network."""
        for name, value in self.state().items():
            value.copy_(state[name])
