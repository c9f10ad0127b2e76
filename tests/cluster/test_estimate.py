"""Before a task starts: what no worker can hold is refused, and its minutes are estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.estimate import (
    estimate_minutes,
    refuse_what_does_not_fit,
    refuse_what_no_disk_holds,
)
from gan_lab.errors import TooLittleDisk, TooMuchMemory
from gan_lab.workspace.tables import seed_path, write_seed

from .conftest import MACHINE, Record, request

GB = 1e9


@pytest.mark.parametrize(
    ("requests", "limits", "reason"),
    [
        ([("seed", {"rows": 10_000_000})], [2 * GB, 1 * GB], "about .* GB for 10,000,000 rows"),
        ([("seed", {"lives": 1_000_000})], [64 * GB], "about .* GB for 200,000,000 rows"),
        ([("seed", {"rows": 50_000_000}), ("train", {})], [90 * GB], "train .*50,000,000 rows"),
    ],
)
def test_what_no_worker_can_hold_is_refused_with_the_figure(
    bare: Path, requests: list[tuple[Any, dict[str, Any]]], limits: list[float], reason: str
) -> None:
    specs = [request(kind, **options) for kind, options in requests]
    with pytest.raises(TooMuchMemory, match=reason):
        refuse_what_does_not_fit(Machine(MACHINE), specs, limits)


@pytest.mark.parametrize("limits", [[2 * GB, 64 * GB], [2 * GB, 0], []])
def test_what_one_worker_can_hold_is_not_refused(bare: Path, limits: list[float]) -> None:
    specs = [request("seed", rows=10_000_000)]
    refuse_what_does_not_fit(Machine(MACHINE), specs, limits)  # 0: a worker without a limit


def test_a_seed_table_that_exists_is_what_counts(bare: Path) -> None:
    write_seed(MACHINE, pd.DataFrame({f"x{i}": range(1_000_000) for i in range(3)}))
    with pytest.raises(TooMuchMemory, match="1,000,000 rows of 3 columns"):
        refuse_what_does_not_fit(Machine(MACHINE), [request("train")], [0.8 * GB])
    seed_path(MACHINE).write_bytes(b"PAR1 and no more")  # may be simulated anew
    both = [request("seed", rows=100), request("train")]
    refuse_what_does_not_fit(Machine(MACHINE), both, [0.8 * GB])


def test_what_no_disk_holds_is_refused_with_the_figure(bare: Path) -> None:
    write_seed(MACHINE, pd.DataFrame({f"x{i}": range(10) for i in range(3)}))
    chain = [request("generate", rows=1_000_000_000)]
    with pytest.raises(TooLittleDisk, match="about 15.0 GB, and 10.0 GB are free"):
        refuse_what_no_disk_holds(Machine(MACHINE), chain, 10e9)
    refuse_what_no_disk_holds(Machine(MACHINE), chain, 20e9)
    with pytest.raises(TooLittleDisk, match="GB are free"):
        refuse_what_no_disk_holds(Machine(MACHINE), [request("seed", rows=90_000_000)], 1e9)


def test_a_task_takes_what_others_of_its_kind_took(record: Record) -> None:
    spec = request("train", epochs=20)
    assert estimate_minutes(spec) == 0.5
    record(request("seed"), {"samples_generated": 5})
    assert estimate_minutes(spec) == 0.5
    record(request("train", "motor_siemens_001"), {"training_time_seconds": 240})
    assert estimate_minutes(spec) == 4
    record(request("train"), {"training_time_seconds": 60})  # of the machine itself: better known
    assert estimate_minutes(spec) == 1
    assert estimate_minutes(request("generate")) == 0.5
