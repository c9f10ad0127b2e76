"""The tables of a workspace: seeds and synthetic splits, read, written, hashed and split."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gan_lab.errors import BadParameter, BadTable, GanLabError, NoSeedData
from gan_lab.schema import Roles, utc_now
from gan_lab.settings import find_workspace
from gan_lab.store import StorePath
from gan_lab.workspace.files import (
    make_folder,
    naming,
    to_be_read,
    to_read_footer,
    written_beside,
)
from gan_lab.workspace.profiles import check_machine_id


def seed_path(machine_id: str) -> Path:
    """Return where the seed table of a machine lies, whether it exists or not."""
    return find_workspace() / "data" / "seed" / f"{check_machine_id(machine_id)}.parquet"


def synthetic_folder(machine_id: str) -> Path:
    """Return where the synthetic tables of a machine lie, whether they exist or not."""
    return find_workspace() / "data" / "synthetic" / check_machine_id(machine_id)


def read_seed(machine_id: str) -> pd.DataFrame:
    """Read a machine's seed table; raises `NoSeedData` where there is none."""
    path = seed_path(machine_id)
    if not path.exists():
        raise no_seed_data(machine_id)
    return read_parquet(path)


def rows_of_lives(machine_id: str, life: str | None) -> list[int]:
    """Return how many rows each life of a seed table has; without a column of lives it is one."""
    path = seed_path(machine_id)
    with _readable(path):
        if life is None or life not in pq.read_schema(to_read_footer(path)).names:
            return [parquet_shape(path)[0]]
        counts = pq.read_table(to_be_read(path), columns=[life])[life].value_counts()
    return [int(each["counts"]) for each in counts.to_pylist()]


def no_seed_data(machine_id: str) -> NoSeedData:
    """Return the error of a machine without a seed table, with what makes one."""
    return NoSeedData(
        f"{machine_id} has no seed data. Make some with `gan-lab seed {machine_id}`, "
        f"or bring your own with `gan-lab import {machine_id} FILE --replace`."
    )


def write_seed(
    machine_id: str, table: pd.DataFrame, synthetic: dict[str, Any] | None = None
) -> Path:
    """Write a machine's seed table, whole or not at all; returns its path."""
    return write_table(seed_path(machine_id), table, synthetic)


def write_table(path: Path, table: pd.DataFrame, synthetic: dict[str, Any] | None = None) -> Path:
    """Write a table as its file is called (.parquet, .xlsx, else CSV), whole or not at all.

    What is known of `synthetic` rows stands in a Parquet file's metadata. Returns the path; raises
    `BadParameter` for what Excel cannot hold.
    """
    with written_beside(path) as beside:
        if path.suffix == ".parquet":
            rows = pa.Table.from_pandas(table, preserve_index=False)
            schema = marked(rows.schema, synthetic) if synthetic else rows.schema
            pq.write_table(rows.cast(schema), beside)
        elif path.suffix == ".xlsx":
            try:
                with beside.open("wb") as file:
                    table.to_excel(file, index=False, engine="openpyxl")
            except ValueError as error:  # more rows than a sheet has, times with a zone
                raise BadParameter(f"Excel cannot hold {path.name}: {error}") from None
        else:
            table.to_csv(beside, index=False)
    return path


def marked(schema: pa.Schema, about: dict[str, Any]) -> pa.Schema:
    """Return a schema whose metadata says that the rows are synthetic, and what is known."""
    mark = json.dumps({"synthetic": True, **about}).encode()
    return schema.with_metadata({**(schema.metadata or {}), b"gan_lab": mark})


def mark_of(path: Path) -> dict[str, Any]:
    """Return what a Parquet file's metadata says of synthetic rows: nothing where they are real."""
    with _readable(path):
        found: dict[str, Any] = json.loads(
            (pq.read_schema(to_read_footer(path)).metadata or {}).get(b"gan_lab", b"{}")
        )
    return found


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file; raises `BadTable` where it is empty, truncated or something else."""
    with _readable(path):
        return pd.read_parquet(to_be_read(path))


def parquet_shape(path: Path) -> tuple[int, int]:
    """Count a Parquet file's rows and columns by its footer; raises `BadTable`."""
    with _readable(path):
        footer = pq.read_metadata(to_read_footer(path))
        return int(footer.num_rows), int(footer.num_columns)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BadTable(f"There is no file {path}.") from None
    except (pa.ArrowException, OSError) as error:
        raise BadTable(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0].rstrip('.')}): "
            "export it again or fetch it anew."
        ) from None


def table_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_holdout(
    table: pd.DataFrame, roles: Roles, fraction: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into what a model may see and what is kept for the report, both in order.

    By life where there are lives, so that no life is on both sides: at least one on each where
    there are two or more, and so of the lives without a rul and of those with one, as neither side
    can do without either. By row otherwise. The same seed gives the same split.
    """
    units = table[roles.life] if roles.life else pd.Series(np.arange(len(table)))
    whole = np.ones(len(table), dtype=bool)
    if roles.life and roles.rul and units.nunique() > 2:
        whole = table[roles.rul].notna().groupby(units).transform("any").to_numpy(bool)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(table), dtype=bool)
    for kind in (units[whole], units[~whole]):
        names = kind.drop_duplicates().to_numpy()
        kept = round(len(names) * fraction)
        if fraction > 0 and len(names) > 1:
            kept = min(max(kept, 1), len(names) - 1)
        held |= units.isin(names[rng.permutation(len(names))[:kept]]).to_numpy()
    return table[~held].reset_index(drop=True), table[held].reset_index(drop=True)


class SplitWriter:
    """Streams synthetic splits to Parquet beside the old ones and moves all into place at the end.

    Used as a context manager; an exception inside leaves what was there untouched. Writes
    `data/synthetic/<machine_id>/{train,val,test}.parquet` and `manifest.json` (run, model, rows,
    hashes, the `conditions` asked for). Holds one chunk in memory.
    """

    def __init__(
        self,
        machine_id: str,
        task_id: str,
        model: str,
        conditions: dict[str, Any] | None = None,
    ) -> None:
        self._machine_id, self._task_id, self._model = machine_id, task_id, model
        self._conditions = conditions or {}
        self._folder = synthetic_folder(machine_id)
        self._beside = self._folder.with_name(f".{machine_id}.{task_id}")
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        if isinstance(self._folder, StorePath):
            self._beside = Path(tempfile.mkdtemp(prefix="gan-lab-"))
        else:
            shutil.rmtree(self._beside, ignore_errors=True)
            make_folder(self._beside)
        return self

    def write(self, split: str, chunk: pd.DataFrame) -> None:
        """Append rows to a split; the first chunk of a machine without a seed fixes the types."""
        if split not in self._writers:
            about = {"machine_id": self._machine_id, "task_id": self._task_id, "model": self._model}
            schema = marked(self._schema(chunk), about)
            self._writers[split] = pq.ParquetWriter(self._beside / f"{split}.parquet", schema)
            self.rows[split] = 0
        writer = self._writers[split]
        rows = pa.Table.from_pandas(chunk, schema=writer.schema, preserve_index=False)
        with naming(self._folder / f"{split}.parquet"):
            writer.write_table(rows)
        self.rows[split] += len(chunk)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for split, writer in self._writers.items():
                with naming(self._folder / f"{split}.parquet"):
                    writer.close()
            if error is None:
                self._move_into_place()
        finally:
            shutil.rmtree(self._beside, ignore_errors=True)

    def _schema(self, chunk: pd.DataFrame) -> pa.Schema:
        """The seed's types where it has the same columns, so that the user's own come back."""
        path = seed_path(self._machine_id)
        if path.exists():
            schema = pq.read_schema(to_read_footer(path))
            if set(schema.names) == set(chunk.columns):
                return pa.schema([schema.field(name) for name in chunk.columns], schema.metadata)
        return pa.Schema.from_pandas(chunk, preserve_index=False)

    def _move_into_place(self) -> None:
        make_folder(self._folder)
        record = {
            "format": 1,
            "machine_id": self._machine_id,
            "task_id": self._task_id,
            "model": self._model,
            "created": utc_now(),
            "conditions": self._conditions,
            "rows": self.rows,
            "sha256": {name: table_sha256(self._beside / f"{name}.parquet") for name in self.rows},
        }
        (self._beside / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
        for stale in self._folder.glob("*.parquet"):
            if stale.stem not in self.rows:
                stale.unlink()
        for name in (*(f"{split}.parquet" for split in self.rows), "manifest.json"):
            if isinstance(self._folder, StorePath):
                (self._folder / name).upload(self._beside / name)
            else:
                (self._beside / name).replace(self._folder / name)


def read_synthetic(machine_id: str, split: str = "train") -> pd.DataFrame:
    """Read one split of a machine's synthetic tables; raises `BadTable` where there is none."""
    path = synthetic_folder(machine_id) / f"{split}.parquet"
    if not path.exists():
        raise BadTable(
            f"{machine_id} has no synthetic {split} table. "
            f"Make one with `gan-lab generate {machine_id}`."
        )
    return read_parquet(path)


def conditions_in_words(manifest: dict[str, Any]) -> str:
    """Return the conditions that tables were drawn under; empty without any."""
    asked = (manifest.get("conditions") or {}).items()  # a range is a list of its ends
    words = {name: " to ".join(map(str, v)) if isinstance(v, list) else v for name, v in asked}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def manifest(machine_id: str) -> dict[str, Any] | None:
    """Return what is known of a machine's synthetic tables; None where there are none."""
    path = synthetic_folder(machine_id) / "manifest.json"
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise GanLabError(
            f"{path} is damaged. Run `gan-lab generate {machine_id}` again to replace it."
        ) from None
    return record
