"""Users' own files: what comes in as it was, what is pointed out, what is refused in a sentence."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.cluster.catalogue import import_machine
from gan_lab.errors import BadParameter, BadTable, TooMuchMemory
from gan_lab.synth.importing.importer import import_table
from gan_lab.workspace.profiles import Profile, load_profile, profile_ids, write_profile
from gan_lab.workspace.tables import read_seed, seed_path


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("GAN_LAB_HOME", str(home))
    return home


def lives(units: int = 3, rows: int = 20) -> pd.DataFrame:
    step = np.tile(np.arange(rows), units)
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(1, units + 1), rows),
            "cycle": step + 1,
            "Temp [°C]": np.round(20 + np.sin(step) + step / 20, 2),
            "mode": np.where(step % 3 == 0, "idle", "full"),
            "rul": rows - 1 - step,
        }
    )


def save(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "roles", "rows", "number_of_lives"),
    [
        ("train_FD001.parquet", {}, 20_631, None),
        ("train_FD001.parquet", {"life": "unit", "time": "cycle", "rul": "rul"}, 20_631, 100),
        ("ai4i2020.csv", {}, 10_000, None),
        ("cnc_mill.parquet", {"life": "experiment", "time": "row"}, 25_286, 18),
    ],
)
def test_real_tables_come_in_as_they_are(
    shared_data: Path, name: str, roles: dict[str, str], rows: int, number_of_lives: int | None
) -> None:
    summary = import_table("mine_1", [shared_data / name], **roles)
    path = shared_data / name
    whole = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    kept = [column for column in whole.columns if column not in summary.left_out]
    pd.testing.assert_frame_equal(read_seed("mine_1"), whole[kept])
    assert (summary.rows, summary.lives) == (rows, number_of_lives)
    expected = {"UDI", "Product ID"} if name.startswith("ai4i") else set()
    assert set(summary.left_out) == expected
    assert load_profile("mine_1").roles.life == roles.get("life")


def test_the_profile_tells_ranges_levels_units_and_origin(tmp_path: Path) -> None:
    table = lives().assign(flow_m3_h=lives()["rul"] + 0.5, flag=lives()["cycle"] == 3)
    table.astype({"flag": int}).to_csv(tmp_path / "a.csv", index=False)
    summary = import_table("mine_1", [tmp_path / "a.csv"])
    parts = "--life 'unit', --time 'cycle', --rul 'rul', --state 'mode'. Without a life"
    assert f"By their names these columns play a part: {parts}" in " ".join(summary.notes)
    roles = {"life": "unit", "time": "cycle", "rul": "rul", "state": "mode"}
    import_table("mine_1", [tmp_path / "a.csv"], replace=True, **roles)
    profile = load_profile("mine_1")
    sensor, flow, flag = profile.sensors.values()
    assert list(profile.sensors) == ["Temp [°C]", "flow_m3_h", "flag"]
    assert (flow.minimum, flow.typical, flow.maximum, flow.unit) == (0.5, 10.0, 19.5, "m3/h")
    assert flag.warning is flag.critical is flow.critical is None
    assert (sensor.unit, sensor.group, sensor.decimals) == ("degC", "temperature", 2)
    assert sensor.minimum <= sensor.typical <= sensor.maximum
    assert profile.states["idle"].share == pytest.approx(0.35)
    assert profile.imported is not None and profile.imported.lives == 3
    assert not profile.simulated


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_dialects(tmp_path: Path, separator: str, encoding: str) -> None:
    path = save(tmp_path / "a.csv", lives().to_csv(index=False, sep=separator), encoding)
    import_table("mine_1", [path], life="unit", time="cycle", rul="rul")
    pd.testing.assert_frame_equal(read_seed("mine_1"), lives())


def test_a_german_excel_export(tmp_path: Path) -> None:
    rows = [f"0{1 + i // 24}.03.2024 {i % 24:02d}:00;1.0{i:02d},5;{i},25;;End;" for i in range(48)]
    rows[7] = "01.03.2024 07:00;1.007,5;31. Jul;;end;"
    text = "sep=;\nZeit;Drehzahl [rpm];Druck [bar];Bemerkung;Ende;\n" + "\n".join(rows) + "\n"
    path = save(tmp_path / "export.csv", text.replace("\n", "\r\n"), "cp1252")
    with pytest.raises(BadTable, match=r"'Bemerkung' of .* has no value in any row"):
        import_table("mine_1", [path], time="Zeit")
    summary = import_table("mine_1", [path], time="Zeit", leave_out=["Bemerkung"])
    table = read_seed("mine_1")
    assert list(table.columns) == ["Zeit", "Drehzahl [rpm]", "Druck [bar]", "Ende"]
    assert table["Zeit"].iloc[47] == pd.Timestamp("2024-03-02 23:00")
    assert table["Drehzahl [rpm]"].iloc[3] == 1003.5
    assert table["Druck [bar]"].isna().sum() == 1
    notes = " ".join(summary.notes)
    assert "'31. Jul' in row 8" in notes


HOURS = pd.date_range("2024-03-01", periods=30, freq="h")
TIMES = {
    "plain": "%Y-%m-%d %H:%M:%S", "short": "%d.%m.%y %H:%M", "PI": "%d-%b-%Y %H:%M:%S",
    "American": "%m/%d/%Y %I:%M:%S %p", "logger": "%Y/%m/%d %H:%M:%S.250",
    "comma": "%d.%m.%Y %H:%M:%S,250", "zone": "%Y-%m-%dT%H:%M:%S+01:00",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_times_as_loggers_and_historians_write_them(tmp_path: Path, name: str) -> None:
    form = TIMES[name]
    text = "\n".join(["t;x", *(f"{hour:{form}};{hour.hour}" for hour in HOURS)])
    summary = import_table("mine_1", [save(tmp_path / "a.csv", text)], time="t")
    added = {"zone": "-1h", "logger": "250ms", "comma": "250ms"}.get(name, "0h")
    assert read_seed("mine_1")["t"].tolist() == (HOURS + pd.Timedelta(added)).tolist()
    notes = " ".join(summary.notes)
    assert ("UTC" in notes) == (name == "zone")
    assert ("may be swapped" in notes) == (name == "American")


ODD_FILES = {
    "lines before the heading": ("# PI\nPlant 7\n\nt;x;p\n", "{i};{i}.5;1", "has 3 lines before"),
    "point between thousands": ("t;x;p\n", "{i};1.0{i:02},5;1", ""),
    "comma between thousands": ("t,x,p\n", '{i},"1,0{i:02}.5",1', ""),
    "dates and decimal commas": ("t;x\n", "01.03.2024 00:{i:02};{i},5", ""),
    "percent": ("t;x;p\n", "{i};{i}.5%;1", ""),
    "line breaks in cells": ("t,x,p\n", '{i},{i}.5,"a\nb"', ""),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD_FILES)
def test_odd_files(tmp_path: Path, what: str) -> None:
    heading, row, note = ODD_FILES[what]
    text = heading + "\n".join(row.format(i=i) for i in range(30))
    summary = import_table("mine_1", [save(tmp_path / "a.csv", text)])
    values = read_seed("mine_1")["x"].to_numpy()
    assert (values % 1000 == np.arange(30) + 0.5).all()
    notes = [text for text in summary.notes if not text.startswith(("Always", "By their"))]
    assert re.search(note, notes[0]) if note else not notes


def test_mixed_types_are_said(tmp_path: Path) -> None:
    table = lives().assign(mixed=["n.m.", 5, 6] * 20)
    table.iloc[[*range(60), 7]].to_csv(tmp_path / "a.csv", index=False)
    summary = import_table("mine_1", [tmp_path / "a.csv"], life="unit", time="cycle", rul="rul")
    notes = " ".join(summary.notes)
    assert "'mixed' mixes 41 numbers with texts ('n.m.' in row 1): it counts as text" in notes
    assert "--state 'mode'" in notes
    mixed = next(column for column in summary.columns if column.name == "mixed")
    assert (mixed.type, mixed.distinct, mixed.note) == ("text", 3, "")
    assert str(summary).splitlines()[1].split()[:3] == ["name", "type", "role"]


def test_files_of_one_table_may_differ_in_numbers_but_not_in_what_they_are(tmp_path: Path) -> None:
    whole, half = lives(1)[["cycle", "rul"]], lives(1)[["rul", "cycle"]] / 2
    whole.to_parquet(tmp_path / "a.parquet")
    half.to_parquet(tmp_path / "b.parquet")
    half.to_csv(tmp_path / "c.csv", index=False)
    half.to_csv(tmp_path / "d.csv", index=False, sep=";", decimal=",")
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.csv", "d.csv")]
    import_table("mine_1", paths[:2], life_per_file=True)
    assert read_seed("mine_1")["cycle"].tolist() == [*whole["cycle"], *half["cycle"]]
    with pytest.raises(BadTable, match="are CSV and Parquet: bring one kind"):
        import_table("mine_2", paths[1:3], life_per_file=True)
    with pytest.raises(BadTable, match="with a comma, c.csv with a point"):
        import_table("mine_2", paths[2:], life_per_file=True)
    lives(1).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(BadParameter, match="have a column 'unit': use --life unit"):
        import_table("mine_2", [tmp_path / "e.csv"] * 2, life="unit", life_per_file=True)


def test_a_data_frame_comes_in_as_it_is() -> None:
    summary = import_machine("mine_1", lives().set_index("unit"), life="unit", time="cycle")
    pd.testing.assert_frame_equal(read_seed("mine_1"), lives())
    assert (summary.rows, summary.lives) == (60, 3)


def test_wide_short_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(60, 150))
    wide = pd.DataFrame(values, columns=[f"s{i}" for i in range(150)])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    import_table("mine_1", [tmp_path / "wide.csv"])
    assert read_seed("mine_1").shape == (60, 150)


def test_time_that_runs_backwards_is_put_right_and_said(tmp_path: Path) -> None:
    shuffled = lives().sample(frac=1, random_state=1)
    shuffled.to_csv(tmp_path / "a.csv", index=False)
    summary = import_table("mine_1", [tmp_path / "a.csv"], life="unit", time="cycle", rul="rul")
    table = read_seed("mine_1")
    assert (table.groupby("unit")["cycle"].diff().dropna() == 1).all()
    assert any("not in the order" in note for note in summary.notes)


def test_rows_of_a_wrong_length_are_left_out_and_said(tmp_path: Path) -> None:
    text = lives(units=20).to_csv(index=False)
    path = save(tmp_path / "a.csv", text + "1,2\n")
    summary = import_table("mine_1", [path])
    assert summary.rows == 400
    assert any("1 of 401 rows" in note for note in summary.notes)


def test_several_files_one_life_each(tmp_path: Path) -> None:
    paths = []
    for unit in range(3):
        paths.append(tmp_path / f"{unit}.csv")
        lives(units=1).drop(columns="unit").to_csv(paths[-1], index=False)
    summary = import_table("mine_1", paths, life_per_file=True, time="cycle", rul="rul")
    assert (summary.rows, summary.lives) == (60, 3)
    assert load_profile("mine_1").roles.life == "life"


def test_a_historians_export_is_turned_wide(tmp_path: Path) -> None:
    lines = ["unit,tag,time,value"]
    for unit in (1, 2):
        for hour in range(24):
            lines.append(f"{unit},pressure,2024-01-0{unit} {hour:02d}:00:00,{hour}.5")
            if hour % 2 == unit - 1:
                lines.append(f"{unit},flow,2024-01-0{unit} {hour:02d}:00:00,{100 * unit + hour}")
    path = save(tmp_path / "a.csv", "\n".join(lines))
    import_table("mine_1", [path], long=("tag", "time", "value"))
    assert list(read_seed("mine_1").columns) == ["time", "flow", "pressure"]
    import_table("mine_2", [path], long=("tag", "time", "value"), life="unit")
    table = read_seed("mine_2")
    assert list(table.columns) == ["unit", "time", "flow", "pressure"]
    assert table["flow"].tolist()[:3] == [100.0, 100.0, 102.0]
    assert table.loc[table["unit"] == 2, "flow"].iloc[0] == 201.0
    # A file for each tag.
    parts = [
        save(tmp_path / f"{tag}.csv", "\n".join([lines[0], *(x for x in lines if f",{tag}," in x)]))
        for tag in ("pressure", "flow")
    ]
    import_table("mine_3", parts, long=("tag", "time", "value"), life="unit")
    pd.testing.assert_frame_equal(read_seed("mine_3"), table)


def test_a_rul_is_made_from_failures_and_time(tmp_path: Path) -> None:
    table = lives().drop(columns="rul")
    table["failed"] = ((table["cycle"] == 20) & (table["unit"] < 3)).astype(int)
    table.to_csv(tmp_path / "a.csv", index=False)
    path = tmp_path / "a.csv"
    summary = import_table("mine_1", [path], life="unit", time="cycle", failure="failed")
    made = read_seed("mine_1")
    assert made["rul"].dropna().tolist() == list(range(19, -1, -1)) * 2
    assert made.loc[made["rul"].isna(), "unit"].tolist() == [3] * 20
    assert any("Lives without a rul: 1 of 3, such as 3." in note for note in summary.notes)
    (flag,) = [column for column in summary.columns if column.name == "failed"]
    assert flag.role == "failure" and list(load_profile("mine_1").sensors) == ["Temp [°C]"]


def test_persons_and_serial_numbers_stay_out_unless_named(tmp_path: Path) -> None:
    table = lives().assign(operator="Anna", serial_no="X1")
    table.to_csv(tmp_path / "a.csv", index=False)
    assert set(import_table("mine_1", [tmp_path / "a.csv"]).left_out) == {"operator", "serial_no"}
    columns = ["Temp [°C]", "operator"]
    import_table("mine_2", [tmp_path / "a.csv"], columns=columns)
    assert list(read_seed("mine_2").columns) == columns


def test_types_with_gaps_stay_what_they_are(tmp_path: Path) -> None:
    table = lives()[["unit", "cycle", "Temp [°C]"]].assign(
        count=pd.array([None, *range(59)], dtype="Int64"),
        whole=pd.array(range(60), dtype="Int32"),
        flag=pd.array([None, *[True, False] * 29, True], dtype="boolean"),
        on=[True, False, False] * 20,
    )
    table.to_parquet(tmp_path / "a.parquet")
    import_table("mine_1", [tmp_path / "a.parquet"], columns=list(table))
    pd.testing.assert_frame_equal(read_seed("mine_1"), table)
    table.to_csv(tmp_path / "a.csv", index=False)
    import_table("mine_2", [tmp_path / "a.csv"], columns=["unit", "count", "flag", "on"])
    pd.testing.assert_frame_equal(read_seed("mine_2"), table[["unit", "count", "flag", "on"]])
    table["price"] = [Decimal(number * 502) / 100 for number in range(60)]
    table.to_parquet(tmp_path / "a.parquet")
    import_table("mine_3", [tmp_path / "a.parquet"])
    assert read_seed("mine_3")["price"].dtype == "float64"


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"ab"])
def test_what_no_model_learns_is_refused_by_name(tmp_path: Path, value: object) -> None:
    lives().assign(odd=[value] * 60).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadTable, match="'odd' .* of a.parquet cannot be modelled"):
        import_table("mine_1", [tmp_path / "a.parquet"], columns=["unit", "odd"])
    assert "--columns" not in import_table("mine_1", [tmp_path / "a.parquet"]).left_out["odd"]


@pytest.mark.parametrize("same", [1.5, "v2", True])
def test_a_table_in_which_nothing_changes_is_refused(tmp_path: Path, same: object) -> None:
    lives()[["unit", "cycle", "rul"]].assign(same=same).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(BadTable, match="constant beside life, time and rul: there is nothing"):
        import_table("mine_1", [tmp_path / "a.csv"], life="unit", time="cycle", rul="rul")


BAD_FILES = {
    "empty.csv": (b"", "is empty"),
    "empty.parquet": (b"", "is empty"),
    "heading.csv": (b"a,b,c\n", "heading but no rows"),
    "short.csv": (b"a,b\n1,2\n3,4\n", "has 2 rows"),
    "truncated.parquet": (b"PAR1\x15\x04", "not a readable Parquet file"),
    "no.parquet": (b"a,b\n1,2\n", "not a readable Parquet file"),
    "sheet.csv": (b"PK\x03\x04xxxx", "Excel workbook"),
    "image.csv": (b"\x00\x01\x02\x03" * 100, "neither text nor Parquet"),
    "infinite.csv": (b"a,b\n" + b"1,2\n" * 20 + b"inf,3\n", "'a' of infinite.csv holds infinite"),
    "missing.csv": (b"a,b\n" + b"1,\n" * 20, "'b' of missing.csv has no value"),
    "twice.csv": (b"a,b,a\n" + b"1,2,3\n" * 20, "column 'a' twice"),
    "numbers.csv": (b"1,2\n" * 20, "has no heading"),
    "spaces.csv": (b"1 2.5 3\n" * 20, "no separator in common"),
    "ragged.csv": (b"a,b\n" + b"1,2\n" * 20 + b"1,2,3\n" * 20, "do not have 2 fields"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_a_sentence_and_leave_nothing(
    tmp_path: Path, workspace: Path, name: str
) -> None:
    content, sentence = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadTable, match=sentence):
        import_table("mine_1", [tmp_path / name])
    assert not [path for path in workspace.rglob("*") if path.is_file()]


def test_a_frame_with_a_column_twice_is_refused() -> None:
    twice = pd.DataFrame(np.zeros((20, 3)), columns=["a", "b", "a"])
    with pytest.raises(BadTable, match="column 'a' twice"):
        import_table("mine_1", [twice])


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    lives(units=200).to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadTable, match="not a readable Parquet file"):
        import_table("mine_1", [tmp_path / "a.parquet"])


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        ({"life": "Unit"}, "no column 'Unit'. Did you mean 'unit'?"),
        ({"life": "engine"}, "no column 'engine'"),
        ({"life": "unit", "time": "unit"}, "cannot play two parts"),
        ({"life": "unit", "rul": "mode"}, "'mode' cannot be the rul"),
        ({"life": "unit", "time": "cycle", "rul": "cycle_2"}, "rises in life 1"),
        ({"life": "gaps"}, "'gaps' cannot be the life: 20 rows lack it"),
    ],
)
def test_bad_roles_are_a_sentence(
    tmp_path: Path, workspace: Path, roles: dict[str, str], sentence: str
) -> None:
    table = lives().assign(cycle_2=lives()["cycle"], gaps=lives()["unit"].replace(2, np.nan))
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises((BadTable, BadParameter), match=sentence.replace("?", r"\?")):
        import_table("mine_1", [tmp_path / "a.csv"], **roles)
    assert not [path for path in workspace.rglob("*") if path.is_file()]


def test_a_machine_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    lives().to_csv(tmp_path / "a.csv", index=False)
    write_profile(Profile(machine_id="mine_1"))
    with pytest.raises(BadParameter, match="--replace"):
        import_table("mine_1", [tmp_path / "a.csv"])
    assert not seed_path("mine_1").exists()
    import_table("mine_1", [tmp_path / "a.csv"], replace=True)
    assert profile_ids() == ["mine_1"] and len(read_seed("mine_1")) == 60


def test_what_does_not_fit_in_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives().to_csv(tmp_path / "a.csv", index=False)
    size = (tmp_path / "a.csv").stat().st_size
    memory = type("Memory", (), {"available": 2 * size})
    monkeypatch.setattr("psutil.virtual_memory", memory)
    with pytest.raises(TooMuchMemory, match="a part of its rows"):
        import_table("mine_1", [tmp_path / "a.csv"])
    pd.DataFrame({"a": np.zeros(1_000_000)}).to_parquet(tmp_path / "a.parquet")  # a few kilobytes
    memory.available = 20_000_000
    with pytest.raises(TooMuchMemory, match="a.parquet holds 0.0 GB"):
        import_table("mine_1", [tmp_path / "a.parquet"])
    cell = pd.DataFrame({"a": ["x" * 50_000_000]})  # one of them, and as small a file
    cell.to_parquet(tmp_path / "b.parquet", compression="zstd")
    with pytest.raises(TooMuchMemory, match="b.parquet holds 0.1 GB"):
        import_table("mine_1", [tmp_path / "b.parquet"])
