"""Hosts on one switch: namespaces, each with an address and a clock, that share only a disk."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PREFIX = "gan-lab-hosts-"
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
# No host sees the processes of another.
ALONE = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += atoi(getenv("CLOCK_S"));
    return failed;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


class NoHosts(Exception):
    """This machine does not let us make hosts."""


class Hosts:
    """Hosts by their names, with the addresses 10.77.0.1 and so on; `folder`: for what they say."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self.folder = folder
        self.clocks_differ = shutil.which("cc") is not None
        self._mine = f"{PREFIX}{os.getpid()}-"
        self._started: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the hosts, and take them away with all that runs there.

        Raises `NoHosts` where that is not allowed.
        """
        if os.geteuid() != 0:
            raise NoHosts("only root may make network namespaces")
        try:
            _remove(lambda owner: not Path(f"/proc/{owner}").exists())  # of runs that were killed
            call(*ALONE, "true")
            ip("netns", "add", self._of("switch"))
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            raise NoHosts(f"namespaces cannot be made here: {said}") from None
        try:
            self._connect()
            yield
        finally:
            _remove(lambda owner: owner == os.getpid())
            for process in self._started:
                process.wait()

    def _connect(self) -> None:
        self._ip("switch", "link", "add", "lan", "type", "bridge")
        self._ip("switch", "link", "set", "lan", "up")
        for name, address in self.addresses.items():
            ip("netns", "add", self._of(name))
            cable = ["type", "veth", "peer", "name", "eth0", "netns", self._of(name)]
            self._ip("switch", "link", "add", name, *cable)
            self._ip("switch", "link", "set", name, "master", "lan", "up")
            self._ip(name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                self._ip(name, "link", "set", link, "up")
        if self.clocks_differ:
            (self.folder / "clock.c").write_text(CLOCK)
            call("cc", "-shared", "-fPIC", "-o", self._library, str(self.folder / "clock.c"))

    @property
    def _library(self) -> str:
        return str(self.folder / "clock.so")

    def with_clock(self, wrong_s: int) -> dict[str, str]:
        """Return the environment of a process whose clock is so wrong, where that can be had."""
        wrong = {"LD_PRELOAD": self._library, "CLOCK_S": str(wrong_s)}
        return wrong if self.clocks_differ else {}

    def start(self, host: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process on a host; what it says is in a file of that name."""
        with (self.folder / f"{host}.log").open("a") as said:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._of(host), *ALONE, *words],
                stdout=said, stderr=said, start_new_session=True, env=os.environ | environment,
            )  # fmt: skip
        self._started.append(process)
        return process

    @contextmanager
    def entered(self, host: str) -> Iterator[None]:
        """Be on a host: this thread, and the threads and processes that it starts meanwhile."""
        with (
            Path("/proc/thread-self/ns/net").open() as here,
            Path(f"/run/netns/{self._of(host)}").open() as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    @contextmanager
    def unplugged(self, host: str) -> Iterator[None]:
        """Pull a host's cable out of the switch for a while."""
        self._ip("switch", "link", "set", host, "down")
        try:
            yield
        finally:
            self._ip("switch", "link", "set", host, "up")

    @contextmanager
    def apart(self, host: str, *others: str) -> Iterator[None]:
        """Let nothing that a host says come to others for a while."""
        with ExitStack() as ending:
            for other in others:
                route = ["blackhole", self.addresses[other]]
                self._ip(host, "route", "add", *route)
                ending.callback(self._ip, host, "route", "delete", *route)
            yield

    @contextmanager
    def frozen(self, host: str) -> Iterator[None]:
        """Suspend all that runs on a host for a while."""
        pids = _pids(self._of(host))
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _of(self, name: str) -> str:
        return self._mine + name

    def _ip(self, host: str, *words: str) -> None:
        ip("-n", self._of(host), *words)


def call(*words: str) -> str:
    """Run a command and return what it says."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def ip(*words: str) -> str:
    """Ask or change the network."""
    return call("ip", *words)


def _remove(whose: Callable[[int], bool]) -> None:
    """Take away the hosts of some processes, by their numbers, with all that runs there."""
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if not name.startswith(PREFIX) or not whose(int(name.removeprefix(PREFIX).split("-")[0])):
            continue
        while pids := _pids(name):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            threading.Event().wait(0.02)
        ip("netns", "delete", name)


def _pids(namespace: str) -> list[int]:
    return [int(pid) for pid in ip("netns", "pids", namespace).split()]


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
