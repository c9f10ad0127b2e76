"""What the export stands on of SDV, and that its file works where this package is not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.network.build import WIDTHS
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.synth.tabular.sdv_export import ASSUMED

PLAIN_SDV = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "gan_lab":
            raise ImportError("gan_lab is not installed here")

sys.meta_path.insert(0, Absent())
from sdv.utils import load_synthesizer

synthesizer = load_synthesizer(sys.argv[1])
first = synthesizer.sample(400)["table"]
synthesizer.reset_sampling()
assert first.equals(synthesizer.sample(400)["table"]), "not the same rows after reset_sampling"
first.to_parquet(sys.argv[2])
"""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "heat": rng.normal(50, 5, 500).round(1),
            "parts": rng.integers(0, 200, 500),
            "gaps": np.where(rng.random(500) < 0.2, np.nan, rng.normal(0, 1, 500)),
            "fault": rng.choice(["none", "hot"], 500, p=[0.9, 0.1]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 500), "D"),
            "open": rng.random(500) < 0.5,
        }
    )


@pytest.mark.slow
def test_an_exported_file_draws_rows_without_this_package(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    model = TabularTVAE.fit(
        table, Roles(), TrainConfig(decoder="network", epochs=30, batch_size=100)
    )
    model.export_sdv(tmp_path / "model.pkl")
    command = [sys.executable, "-c", PLAIN_SDV, tmp_path / "model.pkl", tmp_path / "rows.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert list(rows.columns) == list(table.columns)
    assert rows["heat"].between(table["heat"].min(), table["heat"].max()).all()
    assert (rows["heat"] == rows["heat"].round(1)).all()
    assert 0.05 < rows["gaps"].isna().mean() < 0.4
    assert set(rows["fault"]) == {"none", "hot"}
    assert (rows["day"] == rows["day"].dt.normalize()).all()


@pytest.mark.slow
def test_sdv_still_is_what_the_export_stands_on(table: pd.DataFrame) -> None:
    import cloudpickle
    import sdv.single_table
    from ctgan import TVAE
    from sdv.metadata import Metadata

    class Rows:
        asked = 0

        def set_random_state(self, state: object) -> None:
            self.state = state

        def sample(self, rows: int) -> pd.DataFrame:
            self.asked = rows
            return table.iloc[:rows]

    metadata = Metadata.detect_from_dataframes({"table": table})
    synthesizer = sdv.single_table.TVAESynthesizer(metadata)
    synthesizer.auto_assign_transformers({"table": table})
    synthesizer.update_transformers(dict.fromkeys(table.columns))
    processed = synthesizer.preprocess({"table": table})["table"]
    pd.testing.assert_frame_equal(processed, table, obj=f"no longer true: {ASSUMED[2]}")
    synthesizer._model, synthesizer._fitted = Rows(), True
    drawn = synthesizer.sample(50)["table"]
    assert (synthesizer._model.asked, len(drawn)) == (50, 50), f"no longer true: {ASSUMED[1]}"
    assert hasattr(synthesizer._model, "state"), f"no longer true: {ASSUMED[1]}"
    assert hasattr(cloudpickle, "register_pickle_by_value"), f"no longer true: {ASSUMED[4]}"
    theirs = TVAE()
    ours = TrainConfig()
    for name in ("epochs", "batch_size", "l2scale", "loss_factor"):
        assert getattr(theirs, name) == getattr(ours, name), f"SDV's default of {name} changed"
    assert theirs.embedding_dim == 128, "the description of embedding_dim names another default"
    assert theirs.compress_dims == theirs.decompress_dims == WIDTHS
