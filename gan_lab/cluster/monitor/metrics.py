"""Our figures for Prometheus, beside Dask's own at `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gan_lab.cluster.monitor.run_index import RunIndex, RunTable
from gan_lab.schema import Kind
from gan_lab.task_states import STATUS_NAMES

COUNTERS = {
    "retries": "Attempts behind the first",
    "epochs": "Epochs that trainings have learned",
}


class LabCollector:
    """Reads the last table of the runs; what is asked for here never waits for a file."""

    def __init__(self, index: RunIndex) -> None:
        self.index = index

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: what is collected says it."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the metrics; names and units follow Prometheus's conventions."""
        table = self.index.look()
        if not table.complete:  # counters that begin below what they were would count twice
            return
        tasks = GaugeMetricFamily("gan_lab_tasks", "Tasks in the record", labels=["kind", "state"])
        for kind in get_args(Kind):
            for state in STATUS_NAMES:
                tasks.add_metric([kind, state], table.kinds[kind, state])
        yield tasks
        for what, words in COUNTERS.items():
            counter = CounterMetricFamily(f"gan_lab_task_{what}", words, labels=["kind"])
            for kind in get_args(Kind):
                counter.add_metric([kind], table.totals[kind, what])
            yield counter
        yield from _gauges(table)


def _gauges(table: RunTable) -> Iterator[GaugeMetricFamily]:
    training = [row for row in table.rows if row["kind"] == "train" and row["held"]]
    for name, words, column in (
        ("epochs", "Epochs that running trainings learn each second", "steps_per_second"),
        ("rows", "Rows that running trainings learn from each second", "rows_per_second"),
    ):
        value = sum(row[column] or 0.0 for row in training)
        yield GaugeMetricFamily(f"gan_lab_training_{name}_per_second", words, value=value)
    waiting = table.states["pending"]
    yield GaugeMetricFamily("gan_lab_queue_length", "Tasks that wait for a worker", value=waiting)
    up = float(table.redis_up)
    yield GaugeMetricFamily("gan_lab_redis_up", "Whether Redis answers (1) or not (0)", value=up)
