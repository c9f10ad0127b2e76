"""How far a machine's synthetic rows can be trusted: one report in a notebook, or all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.machines import load_profile
from gan_lab.runs import REPORT_HTML, REPORT_JSON, RunFolder, all_runs, newest_run, open_run

if TYPE_CHECKING:
    import pandas as pd

    from gan_lab.synth.quality import QualityReport


class ReportView:
    """A report as a notebook shows it; `path` is the page, `data` the same as a dictionary."""

    def __init__(self, report: QualityReport, run: RunFolder) -> None:
        self.report, self.task_id = report, run.task_id
        self.path: Path = run.path / REPORT_HTML

    def __repr__(self) -> str:
        verdict = self.report.verdict
        lines = [f"{finding.level:>5}  {finding.text}" for finding in verdict.findings]
        return "\n".join([verdict.headline, *lines, f"Page: {self.path}"])

    def _repr_html_(self) -> str:
        from gan_lab.synth.report_page import render_fragment

        return render_fragment(self.report)

    @property
    def data(self) -> dict[str, Any]:
        """Everything the report says, for programs."""
        return self.report.model_dump(mode="json")


def report(machine_id: str) -> ReportView:
    """Show the report on a machine's present synthetic tables; computed first where there is none.

    The page lies beside it as one self-contained file (`path`). Raises `UnknownMachine`, and
    `RequestError` where there is nothing to report on.
    """
    load_profile(machine_id)
    run = newest_run(machine_id, "report")
    if run is None or _outdated(run, machine_id):
        from gan_lab.cluster import submit

        started = submit.report(machine_id)
        started.result()
        run = open_run(started.task_id)
    return ReportView(_read(run), run)


def leaderboard(machine_id: str) -> pd.DataFrame:
    """Return the reports on a machine's tables, the best verdict first, then the best quality.

    `utility` and `utility_of_lives` are R2 (average precision for a failure) on held-out real rows
    and windows, `memory` the largest share nearer to training than to held-out lives (0.5: none),
    `train_seconds` what the training took.
    """
    import pandas as pd

    load_profile(machine_id)
    runs = [r for r in all_runs() if (r.spec.machine_id, r.spec.kind) == (machine_id, "report")]
    rows = [_line(run) for run in runs if run.result_data() is not None]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    order = table["verdict"].map({"good": 0, "care": 1, "bad": 2})
    table = table.assign(order=order).sort_values(["order", "quality"], ascending=[True, False])
    return table.drop(columns="order").reset_index(drop=True)


_COLUMNS = (
    "report",
    "model",
    "created",
    "verdict",
    "quality",
    "utility",
    "utility_of_lives",
    "memory",
    "detection",
    "train_seconds",
    "finding",
)


def _line(run: RunFolder) -> tuple[Any, ...]:
    found, model = _read(run), run.environment().get("model_task_id")
    task = found.utility[0] if found.utility else None
    lives = found.life_figures.r2.get("synthetic") if found.life_figures else None
    shares = [m.share for m in found.privacy.memory.values() if m.share is not None]
    return (
        run.task_id,
        model,
        run.spec.created,
        found.verdict.level,
        found.quality,
        task.scores.get("synthetic", {}).get(task.metric) if task else None,
        lives,
        max(shares, default=None),
        found.detection.auc,
        _train_seconds(model),
        found.verdict.findings[0].text if found.verdict.findings else "",
    )


def _train_seconds(model: str | None) -> float | None:
    result = open_run(model).result_data() if model else None
    return None if result is None else float(result["training_time_seconds"])


def _read(run: RunFolder) -> QualityReport:
    from gan_lab.synth.quality import QualityReport

    return QualityReport.model_validate_json((run.path / REPORT_JSON).read_text())


def _outdated(run: RunFolder, machine_id: str) -> bool:
    """Whether the synthetic tables were drawn after this report was asked for."""
    from gan_lab.synth.tables import manifest

    known = manifest(machine_id)
    return (
        known is not None
        and str(known["created"]) > run.spec.created
        and (run.spec.after != known["task_id"])
    )
