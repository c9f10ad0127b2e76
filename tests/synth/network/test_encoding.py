"""A table goes into deviations and codes and comes back as what it was."""

import json

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.synth.network.encoding import SPREAD, Encoding
from gan_lab.synth.network.normal_scores import KNOTS, stretches

ROWS = 600


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    number = rng.normal(50, 10, ROWS).round(2)
    table = pd.DataFrame(
        {
            "constant": 7.5,
            "two modes": np.where(rng.random(ROWS) < 0.3, rng.normal(0, 1, ROWS), 100 + number),
            "capped": np.minimum(rng.integers(0, 300, ROWS), 125),
            "few": rng.choice([0.5, 1.25, 9.0], ROWS),
            "even": rng.integers(0, 200, ROWS) * 2,
            "eighths": 0.3 + rng.integers(0, 99, ROWS) * 0.125,
            "tail": (rng.pareto(1.1, ROWS) * 10).round(3),
            "gaps": np.where(rng.random(ROWS) < 0.2, np.nan, number),
            "count": pd.array(rng.integers(0, 90, ROWS), dtype="Int64"),
            "flag": rng.random(ROWS) < 0.1,
            "word": rng.choice(["a", "b", "End", "end"], ROWS),
            "sorted": pd.Categorical(rng.choice(["lo", "hi"], ROWS), ["lo", "hi", "top"], True),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, ROWS), "D"),
            "zoned": pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Berlin"),
            3: rng.normal(0, 1, ROWS).astype("float32"),
        }
    )
    table.loc[5:40, "word"] = None
    table.loc[7:9, "count"] = pd.NA
    table.loc[11:19, "day"] = pd.NaT
    return table


@pytest.fixture(scope="module")
def back(table: pd.DataFrame) -> pd.DataFrame:
    encoding = Encoding.fit(table)
    return encoding.decode(encoding.encode(table))


def test_names_types_and_order_come_back(table: pd.DataFrame, back: pd.DataFrame) -> None:
    assert list(back.columns) == list(table.columns)
    assert back.dtypes.to_dict() == table.dtypes.to_dict()


@pytest.mark.parametrize("name", ["constant", "few", "flag", "word", "sorted"])
def test_what_has_few_values_comes_back_exactly(
    table: pd.DataFrame, back: pd.DataFrame, name: str
) -> None:
    pd.testing.assert_series_equal(back[name], table[name])


@pytest.mark.parametrize(
    "name", ["two modes", "capped", "even", "eighths", "gaps", "count", 3, "tail"]
)
def test_numbers_come_back_near_and_within_bounds(
    table: pd.DataFrame, back: pd.DataFrame, name: str
) -> None:
    assert (back[name].isna() == table[name].isna()).all()
    known = table[name].notna()
    was, now = table[name][known].astype(float), back[name][known].astype(float)
    assert now.between(was.min(), was.max()).all()
    assert (was - now).abs().max() <= 0.02 * np.ptp(was)


@pytest.mark.parametrize("name", ["day", "zoned"])
def test_times_come_back_near_and_missing_where_they_were(
    table: pd.DataFrame, back: pd.DataFrame, name: str
) -> None:
    assert (back[name].isna() == table[name].isna()).all()
    was = table[name]
    assert (was - back[name]).abs().max() <= 0.02 * (was.max() - was.min())


def test_whole_steps_stay_whole(back: pd.DataFrame) -> None:
    assert (back["even"] % 2 == 0).all()
    assert set(((back["eighths"] - 0.3) * 8).round(9) % 1) == {0}
    days = back["day"].dropna()
    assert (days == days.dt.normalize()).all()
    assert (back["zoned"].dt.minute == 0).all()


def test_an_encoding_survives_json(table: pd.DataFrame) -> None:
    encoding = Encoding.fit(table)
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again.columns == encoding.columns


def test_column_numbers_of_numpy_survive_json() -> None:
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=np.array([1, 5]))
    encoding = Encoding.fit(table)
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    back = again.decode(encoding.encode(table))
    assert list(back.columns) == [1, 5]


def test_a_cap_gets_a_cell_of_its_own_beside_one_stretch(table: pd.DataFrame) -> None:
    (column,) = Encoding.fit(table[["capped"]]).columns
    assert column.atoms == [125.0] and len(column.stretches) == 1


@pytest.mark.parametrize("tail", ["normal", "lognormal", "standard_cauchy", "uniform"])
def test_numbers_are_normal_scores_whatever_their_tails(tail: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": getattr(rng, tail)(size=20_000)})
    encoding = Encoding.fit(table)
    encoded = encoding.encode(table)
    scores = SPREAD * encoded.deviations[:, 0]
    shares = np.searchsorted(np.sort(scores), [-2, -1, 0, 1, 2]) / len(scores)
    assert shares == pytest.approx([0.0228, 0.1587, 0.5, 0.8413, 0.9772], abs=0.005)
    assert encoding.groups == []  # a number that is one stretch makes no softmax group
    back = encoding.decode(encoded)["x"]
    ranks = np.searchsorted(np.sort(table["x"]), back) / len(back)
    assert np.abs(ranks - table["x"].rank() / len(back)).max() < 0.01


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([f"id{i}" for i in range(ROWS)], "names rows.*of 500 levels at most"),
        ([2**60 + i for i in range(ROWS)], "cannot be told apart"),
        (np.arange(ROWS).astype("datetime64[D]") + np.timedelta64(400_000, "D"), "years"),
        ([np.nan] * ROWS, "no value"),
        ([None] * ROWS, "no value"),
        ([pd.NaT] * ROWS, "no value"),
    ],
)
def test_what_cannot_be_modelled_is_refused_by_name(values: list[object], says: str) -> None:
    with pytest.raises(BadTable, match=says) as caught:
        Encoding.fit(pd.DataFrame({"odd one": values}))
    assert "odd one" in str(caught.value)


def test_a_word_that_was_not_seen_is_refused() -> None:
    encoding = Encoding.fit(pd.DataFrame({"word": ["a", "b"] * 10}))
    with pytest.raises(BadTable, match="'c'"):
        encoding.encode(pd.DataFrame({"word": ["a", "c"]}))


def test_numbers_are_cut_where_there_are_next_to_none() -> None:
    rng = np.random.default_rng(0)
    regimes = [rng.normal(center, 1, 3000) for center in (0, 40, 55, 300)]
    apart = stretches(*np.unique(np.concatenate(regimes), return_counts=True))
    for (values, scores), rows in zip(apart, regimes, strict=True):
        assert (values[0], values[-1]) == (rows.min(), rows.max())
        assert len(values) <= KNOTS + 1 and values == sorted(values) and scores == sorted(scores)
        assert np.interp(0, scores, values) == pytest.approx(np.median(rows), abs=0.05)
    together = [rng.normal(0, 1, 3000), rng.normal(3, 1, 3000)]
    assert len(stretches(*np.unique(np.concatenate(together), return_counts=True))) == 1
    assert stretches(np.array([7.0]), np.array([3])) == [[[7.0], [0.0]]]


@pytest.mark.parametrize("share", [0.004, 0.01, 0.015])
def test_what_is_rare_and_far_away_is_a_stretch_of_its_own(share: float) -> None:
    rng = np.random.default_rng(0)
    rare = round(20_000 * share)
    for far in (np.full(rare, -999.0), rng.normal(500, 1, rare)):
        values = np.concatenate([rng.normal(20, 1, 20_000 - rare), far])
        found = stretches(*np.unique(values, return_counts=True))
        assert len(found) == 2
        assert any(min(far) == knots[0] and max(far) == knots[-1] for knots, _ in found)
    tail = np.exp(2 * rng.normal(size=20_000))  # one stretch, however heavy
    assert len(stretches(*np.unique(tail, return_counts=True))) == 1
