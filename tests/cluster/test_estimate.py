"""Before a task starts: what no worker can hold is refused, and its minutes are estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.estimate import estimate_minutes, refuse_what_does_not_fit
from gan_lab.errors import TooMuchMemory
from gan_lab.workspace.tables import write_seed

from .conftest import MACHINE, Record, request

GB = 1e9


@pytest.mark.parametrize(
    ("requests", "limits", "reason"),
    [
        ([("seed", {"rows": 10_000_000})], [2 * GB, 1 * GB], "about .* GB for 10,000,000 rows"),
        ([("seed", {"lives": 1_000_000})], [64 * GB], "about .* GB for 200,000,000 rows"),
        ([("report", {})], [0.8 * GB], "for 10,000 rows of .* columns and 0 that were drawn"),
        (
            [("generate", {"train": 100_000_000}), ("report", {})],
            [16 * GB],
            "and 100,000,000 that were drawn",
        ),
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


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (("seed", {"rows": 1_000}), ("seed", {"rows": 1_000_000})),
        (("generate", {"train": 1_000}), ("generate", {"train": 1_000_000})),
        (("train", {"epochs": 5}), ("train", {"epochs": 50})),
        (("train", {"epochs": 9_000}), ("train", {"epochs": 9_000, "early_stopping": False})),
        (
            ("train", {"model": "tabular"}),
            ("train", {"model": "tabular", "max_steps": 0}),
        ),
    ],
)
def test_more_work_takes_longer(bare: Path, less: Any, more: Any) -> None:
    short, long = (estimate_minutes(request(kind, **options)) for kind, options in (less, more))
    assert 0 < short < long


def test_what_earlier_runs_took_corrects_the_estimate(record: Record) -> None:
    spec = request("train", epochs=20)
    first = estimate_minutes(spec)
    other = request("train", "motor_siemens_001", epochs=20)
    record(other, {"training_time_seconds": 60 * estimate_minutes(other) * 4})
    assert estimate_minutes(spec) == pytest.approx(4 * first)
    record(spec, {"training_time_seconds": 60 * first * 3})  # of the machine itself: better known
    assert estimate_minutes(spec) == pytest.approx(3 * first)
    assert estimate_minutes(request("train", epochs=10)) < 3 * first
