"""What leaves the workspace: tables, lives that no model has seen, and a data card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import gan_lab as lab
from gan_lab.cli import main
from gan_lab.cluster.export import export
from gan_lab.errors import BadTable
from gan_lab.schema import TrainConfig
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.workspace import tables
from gan_lab.workspace.run_folder import MODEL, RunFolder
from tests.cluster.conftest import Record, request


@pytest.fixture
def press(record: Record, bare: Path) -> RunFolder:
    """The training of a machine with ten lives; drawn from it are two tables, and judged."""
    (bare / "data" / "machines").unlink()
    rows = pd.DataFrame({"unit": np.repeat(range(10), 20), "heat [degC]": np.linspace(0, 9, 200)})
    rows["rul"] = np.tile(np.arange(20)[::-1], 10)
    lab.import_machine("press", rows, life="unit", rul="rul")
    seed = tables.read_seed("press")
    sha256 = tables.table_sha256(tables.seed_path("press"))
    options = request("train", "press", model="tabular", holdout=0.2, seed=1)
    run = record(options, {"epochs_completed": 7}, seed_sha256=sha256)
    with tables.SplitWriter("press", "t1", model=run.task_id) as writer:
        writer.write("train", seed)
        writer.write("test", seed.head(20))
    told = {"verdict": "Use with care.", "level": "care", "quality": 0.912}
    record(request("report", "press"), told, model_task_id=run.task_id)
    return run


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_real_lives_that_no_model_has_seen_lie_beside_the_synthetic_ones(
    press: RunFolder, tmp_path: Path, to: str
) -> None:
    written = export("press", to, tmp_path / "out")
    names = [f"synthetic-train.{to}", f"synthetic-test.{to}", f"real-holdout.{to}", "DATA-CARD.md"]
    assert [path.name for path in written if path.suffix != ".json"] == names
    read = pd.read_csv if to == "csv" else pd.read_parquet
    holdout = read(written[2])
    assert len(holdout) == 40 and len(read(written[0])) == 200
    _, unseen = tables.split_holdout(tables.read_seed("press"), lab.machine("press").roles, 0.2, 1)
    assert set(holdout["unit"]) == set(unseen["unit"])


def test_the_card_says_what_it_is_how_it_was_made_and_how_far_to_trust_it(
    press: RunFolder, tmp_path: Path
) -> None:
    card = export("press", "csv", tmp_path)[-1].read_text()
    unit = lab.machine("press").profile.rul_unit
    for words in (
        "| real-holdout.csv | real | 40 | 2 |",
        "| synthetic-test.csv | synthetic | 20 | 1 |",
        "| heat [degC] | number | degC |  |",
        f"| rul | whole number | {unit} | rul |",
        f"training `{press.task_id}`: 7 epochs",
        "Use with care.",
        "- quality 0.912: how alike the columns are, 1: the same",
    ):
        assert words in card
    assert "imported." not in card


def test_the_card_names_what_earlier_exports_left(press: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a\n1\n")
    assert "earlier exports" not in export("press", "csv", tmp_path)[-1].read_text()
    card = export("press", "parquet", tmp_path)[-1].read_text()
    left = "real-holdout.csv, synthetic-test.csv, synthetic-train.csv"
    assert f"Of earlier exports, which this card does not describe: {left}." in card


def test_croissant_reads_what_was_exported(press: RunFolder, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    assert export("press", "xlsx", tmp_path / "excel")[-1].name == "DATA-CARD.md"
    described = export("press", "csv", tmp_path)[-2]
    assert described.name == "croissant.json"
    found = mlcroissant.Dataset(jsonld=described)
    rows = list(found.records("real-holdout"))
    real = pd.read_csv(tmp_path / "real-holdout.csv")
    assert [row["real-holdout/rul"] for row in rows] == real["rul"].tolist()


def test_a_parquet_file_says_that_its_rows_are_synthetic(press: RunFolder, tmp_path: Path) -> None:
    train, _, holdout, *_ = export("press", "parquet", tmp_path)
    ours = tables.synthetic_folder("press") / "train.parquet"
    for path in (train, ours):
        mark = json.loads(pq.read_schema(path).metadata[b"gan_lab"])
        assert mark["synthetic"] and mark["model"] == press.task_id
    assert b"gan_lab" not in pq.read_schema(holdout).metadata


def test_simulated_rows_are_not_called_real(press: RunFolder, tmp_path: Path) -> None:
    about = {"machine_id": "press", "simulated": True}
    seed = tables.write_seed("press", tables.read_seed("press"), about)
    press.record_environment(seed_sha256=tables.table_sha256(seed))
    (tmp_path / "README.md").write_text("ours")
    _, _, holdout, *_, card = export("press", "parquet", tmp_path)
    assert holdout.name == "simulated-holdout.parquet"
    assert tables.mark_of(holdout) == {"synthetic": True, **about}
    assert "| simulated-holdout.parquet | simulated | 40 | 2 |" in card.read_text()
    assert "real" not in card.read_text()
    assert (tmp_path / "README.md").read_text() == "ours"


def test_a_table_that_was_changed_since_it_was_drawn_is_refused(
    press: RunFolder, tmp_path: Path
) -> None:
    path = tables.synthetic_folder("press") / "train.parquet"
    tables.write_table(path, tables.read_synthetic("press").head(100))
    with pytest.raises(BadTable, match=r"train\.parquet is not the table that was drawn"):
        export("press", "csv", tmp_path)  # and so says a report, which asks the same


def test_what_cannot_be_exported_is_a_sentence(press: RunFolder, tmp_path: Path) -> None:
    lab.import_machine("other", tables.read_seed("press"), life="unit")
    with pytest.raises(BadTable, match="gan-lab generate other"):
        export("other", "csv", tmp_path)


def test_a_model_of_rows_goes_to_sdv(press: RunFolder, tmp_path: Path) -> None:
    small = TrainConfig(decoder="network", embedding_dim=2, compress_dims=(4,), epochs=1)
    roles = lab.machine("press").roles
    TabularTVAE.fit(tables.read_seed("press"), roles, small).save(press.path / MODEL)
    with pytest.raises(SystemExit) as left:
        main(["export-sdv", "press", str(tmp_path / "press.pkl")])
    assert left.value.code == 0
    from sdv.utils import load_synthesizer

    rows = load_synthesizer(str(tmp_path / "press.pkl")).sample(5)["table"]
    assert "heat [degC]" in rows and len(rows) == 5
