"""Run every benchmark, each in a process of its own: `python -m bench [--quick]`."""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    "waiting",
    "machines",
    "tables",
    "lives",
    "few",
    "prognosis",
    "report",
    "verdict",
    "watching",
    "monitor",
    "fleet",
    "server",
    "growth",
    "store",
    "scale",
)


def main() -> int:
    """Run them all with the same options and return how many failed."""
    failed = 0
    for name in BENCHES:
        print(f"\n== {name} ==", flush=True)
        run = subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=False)
        failed += run.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
