"""Where a network is computed: device and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from gan_lab.errors import BadParameter


def choose_device(name: str) -> torch.device:
    """Return the device that `device=` names; "auto" is a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise BadParameter(
            f"device={name!r} cannot be used: {str(error).splitlines()[0]} Use auto, cpu or cuda."
        ) from None


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, with torch, BLAS and OpenMP: what is so small gains little by a second
    one, and loses much on busy cores, where threads wait for one another.

    It also makes the rows independent of how many threads there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)
