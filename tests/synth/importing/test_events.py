"""Telemetry with a log of failures and maintenance: where records are cut, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gan_lab.cluster.prognosis import read_running
from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import Roles
from gan_lab.synth.importing.importer import import_table
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.tables import read_seed

START = pd.Timestamp("2026-03-28 20:00")
PARTS = {"on": "machineID", "time": "datetime", "event_kind": "what"}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


def telemetry() -> pd.DataFrame:
    """Three machines, 50 hours each, the rows of all mixed."""
    hour = np.tile(np.arange(50), 3)
    return pd.DataFrame(
        {
            "datetime": START + pd.to_timedelta(hour, unit="h"),
            "machineID": np.repeat([1, 2, 3], 50),
            "volt": 170 + np.sin(hour),
            "hour": hour,
        }
    ).sample(frac=1, random_state=0)


def log(*events: tuple[int, float, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "when": [START + pd.Timedelta(hours=hour) for _, hour, _ in events],
            "machineID": [unit for unit, _, _ in events],
            "what": [kind for _, _, kind in events],
        }
    )


EVENTS = (
    (2, 39, "comp1"),
    (1, 10, "comp1"),  # at the time of a row
    (1, 30.5, "comp2"),
    (1, 30.5, "comp1"),
    (3, 20, "service"),
    (9, 5, "comp1"),
)


def test_each_failure_ends_a_life_and_maintenance_one_of_unknown_end(tmp_path: Path) -> None:
    log(*EVENTS).to_csv(tmp_path / "failures.csv", index=False)
    summary = import_table(
        "m_1", [telemetry()], events=str(tmp_path / "failures.csv"), event_time="when",
        maintenance="service", **PARTS,
    )  # fmt: skip
    assert load_profile("m_1").roles == Roles(
        life="machineID", time="datetime", rul="rul", failure_mode="failure_mode"
    )
    table = read_seed("m_1").set_index("hour").groupby("machineID", sort=False)
    assert table.size().to_dict() == {
        "1 #1": 11, "1 #2": 20, "1 #3": 19, "2 #1": 40, "2 #2": 10, "3 #1": 21, "3 #2": 29,
    }  # fmt: skip
    rul = table["rul"].agg(["first", "last"])
    assert rul.loc["1 #1"].tolist() == [10, 0] and rul.loc["1 #2"].tolist() == [19.5, 0.5]
    assert rul.loc["2 #1"].tolist() == [39, 0]
    assert rul.loc[["1 #3", "2 #2", "3 #1", "3 #2"]].isna().all(axis=None)
    assert table["failure_mode"].first().dropna().to_dict() == {
        "1 #1": "comp1", "1 #2": "comp1 + comp2", "2 #1": "comp1"
    }  # fmt: skip
    (time,) = [column for column in summary.columns if column.role == "time"]
    assert (time.minimum, time.maximum) == ("2026-03-28 20:00:00", "2026-03-30 21:00:00")
    said = "\n".join(summary.notes)
    assert "7 lives of 3 units: 3 end in a failure, 1 in maintenance, 3 still run" in said
    assert "the table has not: 9" in said


def test_a_log_in_numbers_with_one_kind_needs_no_mode() -> None:
    table = telemetry().assign(datetime=lambda rows: rows["hour"])
    events = pd.DataFrame({"machineID": [1, 2], "datetime": [12.5, 49]})
    import_table("m_1", [table], events=events, on="machineID", time="datetime")
    assert load_profile("m_1").roles.failure_mode is None
    rul = read_seed("m_1").groupby("machineID", sort=False)["rul"].first()
    assert rul["1 #1"] == 12.5 and rul["2"] == 49 and np.isnan(rul["1 #2"]) and np.isnan(rul["3"])


def test_rows_of_a_log_that_lack_something_are_said_or_get_a_name() -> None:
    events = log((1, 10, "comp1"), (1, 20, "comp1"), (2, 30, "comp1"))
    events["machineID"] = [1.0, np.nan, 2.0]  # as pandas has whole numbers with gaps
    events["what"] = ["comp1", "comp1", None]
    events = pd.concat([events, events.iloc[[0]].assign(when=pd.NaT)], ignore_index=True)
    summary = import_table("m_1", [telemetry()], events=events, event_time="when", **PARTS)
    modes = read_seed("m_1").groupby("machineID")["failure_mode"].first().dropna().to_dict()
    assert modes == {"1 #1": "comp1", "2 #1": "unknown"}
    assert "Rows of the log without a unit or a time: 2, left out." in summary.notes
    assert "2026-03-30 21:00:00" in str(summary)


def test_a_zone_on_one_side_only_is_refused_and_a_silent_end_is_said() -> None:
    events = log((1, 10, "comp1"), (2, 480, "comp1"))
    zoned = events.assign(when=events["when"].dt.strftime("%Y-%m-%dT%H:%M:%S+02:00"))
    with pytest.raises(BadTable, match="times of the log have a time zone, those of the table"):
        import_table("m_1", [telemetry()], events=zoned, event_time="when", **PARTS)
    summary = import_table("m_1", [telemetry()], events=events, event_time="when", **PARTS)
    assert any("long before their failure" in n and ": 1, such as 2" in n for n in summary.notes)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"time": None}, BadParameter, "needs life \\(or on\\) and time"),
        ({"failure_mode": "volt"}, BadParameter, "says when lives end: leave failure_mode out"),
        ({"events": log()}, BadTable, "The log of events has no rows"),
        ({"events": 3}, BadParameter, "3 is no table: name a file, or give a data frame"),
        ({"failure": "volt"}, BadParameter, "says when lives end: leave failure out"),
        ({"event_time": "day"}, BadTable, "no column 'day' in the log of events"),
        ({"event_time": None}, BadTable, "name the time of an event, such as --event-time 'when'"),
        ({"maintenance": "oil"}, BadParameter, "no 'oil'; it has comp1, comp2, service"),
        ({"time": "hour"}, BadTable, "are not alike"),
        ({"events": log((7, 3, "comp1"))}, BadTable, "No unit of the log .* '3', in the log '7'"),
        ({"events": log((1, -5, "comp1"))}, BadTable, "no life ends in one"),
        ({"events": None}, BadParameter, "event_time is of a log of events"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused(
    options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    asked = {"events": log(*EVENTS), "event_time": "when", **PARTS, **options}
    with pytest.raises(error, match=sentence):
        import_table("m_1", [telemetry()], **asked)


def test_lives_may_all_end_in_failure_and_times_be_written_as_said(tmp_path: Path) -> None:
    table = telemetry().drop(columns="hour")
    table["datetime"] = table["datetime"].dt.strftime("%Y.%m.%d.%H.%M.%S")
    parts = {"life": "machineID", "time": "datetime"}
    with pytest.raises(BadTable, match=r"--time-format .* such as %Y.%m.%d.%H.%M.%S"):
        import_table("m_1", [table], **parts)
    with pytest.raises(BadTable, match=r"not written as '%Y-%m-%d', nor .* '2026.03"):
        import_table("m_1", [table], **parts, time_format="%Y-%m-%d")
    iso = table.assign(datetime=telemetry()["datetime"].astype(str))
    summary = import_table("m_1", [iso], **parts, time_format="%d/%m/%Y")
    assert "'datetime' is not written as '%d/%m/%Y', but in a usual form." in summary.notes
    parts["replace"] = True
    import_table("m_1", [table], **parts, time_format="%Y.%m.%d.%H.%M.%S", ends_in_failure=True)
    assert read_running(load_profile("m_1"), table)["datetime"].min() == START  # as it was imported
    seed = read_seed("m_1")
    assert seed.groupby("machineID")["rul"].agg(["first", "last"]).values.tolist() == [[49, 0]] * 3
    assert seed["datetime"].min() == START


def test_excel_gzip_and_frames_of_other_libraries_come_in_alike(tmp_path: Path) -> None:
    table = telemetry().sort_index(ignore_index=True)
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        table.to_excel(book, sheet_name="readings", index=False)
        log(*EVENTS).to_excel(book, sheet_name="events", index=False)
        title = pd.DataFrame([["Line 3", None, None, None]])
        title.to_excel(book, sheet_name="titled", index=False, header=False)
        slips = table.astype({"volt": object}).replace({"volt": {170.0: "n/a?"}})
        slips.to_excel(book, sheet_name="titled", index=False, startrow=2)
    text = table.to_csv(index=False).encode()
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(text))
    parts = {"life": "machineID", "time": "datetime"}
    with pytest.raises(BadTable, match="sheets 'readings', 'events', 'titled': name one"):
        import_table("m_1", [tmp_path / "book.xlsx"], **parts)
    for given in (tmp_path / "book.xlsx", tmp_path / "table.csv.gz", pa.Table.from_pandas(table)):
        sheet = "readings" if str(given).endswith("xlsx") else None
        import_table("m_1", [given], **parts, replace=True, sheet=sheet)
        pd.testing.assert_frame_equal(read_seed("m_1"), table, check_dtype=False)
    summary = import_table("m_1", [tmp_path / "book.xlsx"], **parts, replace=True, sheet="titled")
    assert any("3 texts among its numbers ('n/a?' in row" in note for note in summary.notes)
    with pytest.raises(BadParameter, match="sheet='x' is of an Excel workbook"):
        import_table("m_1", [tmp_path / "table.csv.gz"], **parts, replace=True, sheet="x")
    (tmp_path / "half.csv.gz").write_bytes(gzip.compress(text)[:200])
    with pytest.raises(BadTable, match="half.csv.gz cannot be unpacked"):
        import_table("m_1", [tmp_path / "half.csv.gz"], **parts, replace=True)
