"""The order in which what is lost is handed over again."""

from __future__ import annotations

import uuid
from pathlib import Path

from gan_lab.cluster.queue import _in_chain_order
from gan_lab.schema import Kind, TaskSpec
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, create_run


def test_a_link_comes_behind_the_one_it_waits_for_though_both_are_of_one_moment(
    tmp_path: Path,
) -> None:
    kinds: list[Kind] = ["seed", "train", "generate", "report"]
    chains = []
    for _ in range(6):
        made: list[RunFolder] = []
        for kind in kinds:
            spec = TaskSpec(
                task_id=str(uuid.uuid4()),
                kind=kind,
                machine_id="motor_siemens_001",
                config={},
                created="2026-11-24T10:00:00.000Z",
                after=made[-1].task_id if made else None,
            )
            made.append(create_run(spec, tmp_path))
        chains.append([run.task_id for run in made])
    order = [run.task_id for run in _in_chain_order(all_runs(tmp_path))]
    for chain in chains:
        assert [task_id for task_id in order if task_id in chain] == chain
