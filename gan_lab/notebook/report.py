"""How far a machine's synthetic rows can be trusted: its report, as a notebook shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import REPORT_HTML, REPORT_JSON, RunFolder
from gan_lab.workspace.runs import all_runs

if TYPE_CHECKING:
    from gan_lab.synth.report.evaluate import QualityReport


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
        from gan_lab.synth.report.page import render_fragment

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
    from gan_lab.synth.report.evaluate import QualityReport

    load_profile(machine_id)
    run = _newest_of_present_tables(machine_id)
    if run is None or not run.final:
        run = _computed(machine_id, run)
    try:
        found = QualityReport.model_validate_json((run.path / REPORT_JSON).read_text())
    except ValidationError:  # by another version
        run = _computed(machine_id, None)
        found = QualityReport.model_validate_json((run.path / REPORT_JSON).read_text())
    return ReportView(found, run)


def _newest_of_present_tables(machine_id: str) -> RunFolder | None:
    """Return the newest report on the tables as they are, also one that is still at work."""
    from gan_lab.workspace.tables import manifest

    tables = manifest(machine_id) or {"created": "", "task_id": None}
    for run in all_runs():
        spec = run.spec
        if (spec.machine_id, spec.kind) == (machine_id, "report"):
            fits = spec.created > tables["created"] or spec.after == tables["task_id"]
            if fits and (not run.final or run.result_data() is not None):
                return run
    return None


def _computed(machine_id: str, run: RunFolder | None) -> RunFolder:
    """Wait for the report; it is asked for where nobody has, or where its cluster is gone."""
    from gan_lab.cluster import submit
    from gan_lab.cluster.queue import lost

    asked = submit.Run.of(run) if run and not lost([run]) else submit.report(machine_id)
    asked.result()
    return asked
