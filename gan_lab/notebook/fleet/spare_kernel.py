"""Kernels that a fleet forks: they have what notebooks import before they begin.

A kernel takes two seconds of a core and 150 MB to import IPython, pandas and Dask, which is much
beside a short training. Each notebook's process forks a spare kernel before it starts a thread. The
first of these import for themselves, while their processes import papermill; meanwhile the fleet's
process does, for all that follow. Known to jupyter_client as the provisioner `gan-lab-spare` (an
entry point of this package); any kernel but this environment's own Python starts as ever.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import logging
import multiprocessing.process
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

GROUP, PROVISIONER = "jupyter_client.kernel_provisioners", "gan-lab-spare"
CHOICE = "JUPYTER_DEFAULT_PROVISIONER_NAME"
# As a kernel sets it itself where nobody else has, before Matplotlib is imported.
INLINE = ("MPLBACKEND", "module://matplotlib_inline.backend_inline")
IMPORTED = (
    *("ipykernel.kernelapp", "ipywidgets", "pandas", "pyarrow.parquet", "distributed", "redis"),
    *("gan_lab.cluster.submit", "gan_lab.notebook.machine", "gan_lab.notebook.plots"),
    "gan_lab.notebook.widgets",
)

_spare: SpareKernel | None = None


def import_for_kernels() -> None:
    """Import what notebooks do, for all that are forked later; no Python thread is started."""
    before = dict(os.environ)
    os.environ.setdefault(*INLINE)
    for name in IMPORTED:
        import_module(name)
    if INLINE[0] not in before:
        del os.environ[INLINE[0]]
    gc.freeze()  # else each fork's collector would copy it all


def fork_spare_kernel() -> None:
    """Fork the kernel that this process will need; called while there are no threads.

    The first start takes it; another start is an ordinary one, and so are all where somebody has
    chosen another provisioner or this package was not installed since it has this one.
    """
    global _spare
    if CHOICE not in os.environ and entry_points(group=GROUP, name=PROVISIONER):
        os.environ[CHOICE] = PROVISIONER
        _spare = SpareKernel()


class SpareKernel:
    """A forked process that becomes a kernel when it is told to; to its provisioner a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        orders, self._orders = Pipe(duplex=False)
        for each in (sys.stdout, sys.stderr):  # else the fork would say it again at its end
            each.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._orders.close()
            _await_orders(orders)
        orders.close()

    def begin(self, arguments: Sequence[str], environment: dict[str, str], folder: str) -> None:
        """Let it become a kernel with these arguments of ipykernel's, there."""
        self._orders.send((list(arguments), environment, folder))

    def poll(self) -> int | None:
        """Return its exit status, None while it lives."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end and return its exit status."""
        return self._reap(0)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send it a signal; nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class SpareProvisioner(LocalProvisioner):
    """Starts the spare kernel where there is one and it is of the kind that is wanted."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel that the command line would start."""
        global _spare
        spare, _spare = _spare, None
        kwargs["env"].pop(CHOICE, None)  # the notebook's own kernels are its own matter
        ours = cmd[:3] == [sys.executable, "-m", "ipykernel_launcher"]
        if spare is not None and (not ours or self.kernel_spec.env):  # which would come too late
            spare.kill()
            spare.wait()
            spare = None
        if spare is None:
            return await super().launch_kernel(cmd, **kwargs)
        environment = {**kwargs["env"], "JPY_PARENT_PID": str(os.getpid())}
        # ipykernel took the default of this from the environment when it was imported.
        parent = f"--IPKernelApp.parent_handle={os.getpid()}"
        spare.begin([*cmd[3:], parent], environment, str(kwargs.get("cwd") or Path.cwd()))
        self.process = spare  # type: ignore[assignment]  # all of a Popen that is used
        self.pid = self.pgid = spare.pid
        return self.connection_info


def _await_orders(orders: Connection) -> None:
    """Become a kernel as a new process would be one; never returns."""
    code = 1
    os.closerange(3, orders.fileno())  # among them a fleet's lock, which is not to outlive it
    os.closerange(orders.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        import_for_kernels()
        with suppress(EOFError):  # nobody needs it
            arguments, environment, folder = orders.recv()
            orders.close()
            _begin_anew(environment, folder)
            sys.argv = ["ipykernel_launcher", *arguments]
            from ipykernel.kernelapp import launch_new_instance

            launch_new_instance()
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        logging.getLogger(__name__).exception("The kernel could not begin.")
    finally:
        _end(code)


def _end(code: int) -> None:
    """End as the interpreter does: wait for threads, call what waits for the end, which drops the
    notebook's variables, flush files.

    Only what it was forked with is not taken apart: half a second of a core, to copy what all
    kernels share before throwing it away.
    """
    waited = threading._shutdown  # type: ignore[attr-defined]
    try:
        for last in (waited, atexit._run_exitfuncs, gc.collect, _flush_files):
            with suppress(BaseException):
                last()
    finally:
        os._exit(code & 0xFF)


def _flush_files() -> None:
    made = [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]
    for each in (*made, sys.__stdout__, sys.__stderr__):  # what is frozen is not among the objects
        with suppress(Exception):
            each.flush()
    ctypes.CDLL(None).fflush(None)


def _begin_anew(environment: dict[str, str], folder: str) -> None:
    """Shed what a new process would not have of the one that was forked."""
    import numpy as np

    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    for name in [name for name in sys.modules if name.partition(".")[0] == "papermill"]:
        del sys.modules[name]  # without its cloud stores
    if sys.path[0] == str(Path.cwd()):
        del sys.path[0]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    process: Any = multiprocessing.process
    process.ORIGINAL_DIR, process._parent_process = folder, None
    multiprocessing.current_process().name = "MainProcess"
    random.seed()
    np.random.seed()  # else all kernels would draw the same
