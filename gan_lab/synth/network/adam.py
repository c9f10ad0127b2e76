"""Adam, by the one kernel of torch that does a whole step.

`torch.optim.Adam` would do as well, but it imports torch's compiler first: one to three seconds of
every process that trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # as torch's own optimizer calls its state


@dataclass
class Group:
    """Parameters that are learned alike: at so many times the rate, with so much decay."""

    parameters: Sequence[Tensor]
    weight_decay: float = 0.0
    pace: float = 1.0
    moments: list[dict[str, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.moments = [
            {
                "exp_avg": torch.zeros_like(each),
                "exp_avg_sq": torch.zeros_like(each),
                "step": torch.zeros((), device=each.device),
            }
            for each in self.parameters
        ]


class Adam:
    """Adam with its authors' betas and epsilon (Kingma and Ba 2015, arXiv:1412.6980).

    Weight decay is added to the gradient. The state is torch's own, by the number of the parameter.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = list(groups)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for each in group.parameters:
                each.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at this rate."""
        for group in self.groups:
            found = [
                (each, each.grad, moments)
                for each, moments in zip(group.parameters, group.moments, strict=True)
                if each.grad is not None
            ]
            if not found:
                continue
            parameters, gradients, moments = zip(*found, strict=True)
            averages, squares, steps = ([one[name] for one in moments] for name in MOMENTS)
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                list(parameters), list(gradients), averages, squares, [], steps,
                lr=rate * group.pace, beta1=0.9, beta2=0.999, eps=1e-8,
                weight_decay=group.weight_decay, amsgrad=False, maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Return the tensors from which `restore` goes on bit for bit."""
        numbered = enumerate(moments for group in self.groups for moments in group.moments)
        return {f"{n}.{name}": value for n, moments in numbered for name, value in moments.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a state that was saved; raises `KeyError` for that of another network."""
        for name, value in self.state().items():
            value.copy_(state[name])
