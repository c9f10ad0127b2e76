"""A million simulated rows on one core, and an import of gigabytes: seconds and memory.

`python -m bench.machines [--quick]`. Needs 4 GB in the temporary folder, and leaves none of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import Sensor, load_profile

MACHINE = "motor_siemens_001"
TWENTIETH = Sensor(minimum=-20, typical=22, maximum=60, follows={"ambient": 1.0}, lag_s=600)
PROFILES = Path(__file__).parents[1] / "data" / "machines"
IMPORT = """
import json, sys, time
from pathlib import Path
from gan_lab.synth.importing.importer import import_table
peak = lambda: 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
import_table("small_1", [sys.argv[1]], life="life", time="timestamp", rul="rul")
before, began = peak(), time.perf_counter()
summary = import_table("large_1", [sys.argv[2]], life="life", time="timestamp", rul="rul")
print(json.dumps({
    "rows": summary.rows, "lives": summary.lives, "seconds": time.perf_counter() - began,
    "peak_MB": peak() / 1e6, "more_than_small_MB": (peak() - before) / 1e6,
}))
"""


def simulated(rows: int) -> pa.Table:
    """Simulate on this core, say how long it took, and keep the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    profile = load_profile(MACHINE)
    profile = profile.model_copy(update={"sensors": {**profile.sensors, "hall_C": TWENTIETH}})
    began, cpu = time.perf_counter(), time.process_time()
    table = simulate(profile, SeedConfig(rows=rows))
    print(
        f"simulate: {rows:,} rows of {len(profile.sensors)} sensors in "
        f"{time.perf_counter() - began:.2f} s ({time.process_time() - cpu:.2f} s of one core)"
    )
    return pa.Table.from_pandas(table, preserve_index=False)


def imported(table: pa.Table, copies: int, home: Path) -> None:
    """Write the table into one CSV, so many times, and import it in a process of its own."""
    small, large = home / "small.csv", home / "large.csv"
    pa_csv.write_csv(table.slice(0, len(table) // 10), small)
    lives = table["life"].to_numpy()
    with pa_csv.CSVWriter(large, table.schema) as writer:
        for copy in range(copies):
            numbers = pa.array(lives + copy * lives.max())
            writer.write_table(table.set_column(0, "life", numbers))
    command = [sys.executable, "-c", IMPORT, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"import: {large.stat().st_size / 1e9:.2f} GB of CSV: {json.loads(done.stdout)}")


def main() -> None:
    """Measure in a workspace of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    rows = 100_000 if parser.parse_args().quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["GAN_LAB_HOME"] = folder
        shutil.copytree(PROFILES, home / "data" / "machines")
        imported(simulated(rows), 12, home)


if __name__ == "__main__":
    main()
