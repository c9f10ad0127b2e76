from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.schema import Roles, SeedConfig
from gan_lab.synth.report.compared_tables import MAX_ROWS, compare
from gan_lab.synth.report.detection import Detection
from gan_lab.synth.report.evaluate import QualityReport, evaluate
from gan_lab.synth.report.fidelity import fidelity
from gan_lab.synth.report.page import render_html
from gan_lab.synth.report.physics import physics
from gan_lab.synth.report.privacy import Memory, Privacy, privacy
from gan_lab.synth.report.verdict import Verdict, _privacy, judge
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import Imported, Profile, Sensor, parse_profile, read_yaml

ROOT = Path(__file__).parents[3]
TURBOFAN = Roles(life="unit", time="cycle", rul="rul")
SENSORS = [
    "vibration_rms_mm_s",
    "vibration_peak_mm_s",
    "bearing_temp_de_C",
    "winding_temp_C",
    "accel_bpfi_g",
    "load_pct",
]
Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def parts(table: pd.DataFrame, life: str, seed: int, share: float = 0.4) -> Parts:
    """Three tables of different lives: a second real sample, training, held out."""
    lives = np.random.default_rng(seed).permutation(table[life].unique())
    cut = int(share * len(lives))
    groups = (lives[:cut], lives[cut : 2 * cut], lives[2 * cut :])
    return tuple(table[table[life].isin(g)].reset_index(drop=True) for g in groups)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def profile() -> Profile:
    path = ROOT / "data" / "machines" / "motor_siemens_001.yaml"
    return parse_profile(read_yaml(path), str(path))


@pytest.fixture(scope="module")
def motor(profile: Profile) -> pd.DataFrame:
    table = simulate(profile, SeedConfig(lives=60, seed=3)).iloc[::4]
    return table[[*profile.roles.columns, *SENSORS]].reset_index(drop=True)


@pytest.fixture(scope="module")
def turbofan(shared_data: Path) -> pd.DataFrame:
    """Every fourth row of the hundred engines, and a third of what is measured on them."""
    sensors = [f"sensor_{number}" for number in (2, 4, 7, 9, 11, 12, 17)]
    table = pd.read_parquet(shared_data / "train_FD001.parquet").iloc[::4].reset_index(drop=True)
    return table[["unit", "cycle", *sensors]].assign(rul=table["rul"].clip(upper=125))


def verdict(tables: Parts, roles: Roles, profile: Profile | None = None) -> Verdict:
    """The verdict on all that needs no training of models: quick enough to be asked often."""
    sides = compare(*tables, roles, profile, seed=0)
    silent = Detection(auc=None, real=None, giveaways={})
    memory = privacy(sides, tables[0], tables[1])
    return judge(fidelity(sides), [], None, memory, physics(sides), silent, sides)


def accused(found: Verdict) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for finding in found.findings:
        if finding.level in ("bad", "care"):
            kinds.setdefault(finding.kind, set()).update(finding.columns)
    return kinds


def strongest(table: pd.DataFrame, roles: Roles) -> str:
    """The sensor that goes most with remaining useful life."""
    numbers = table.select_dtypes("number").drop(columns=[roles.life, roles.rul])
    if roles.time in numbers:
        numbers = numbers.drop(columns=roles.time)
    return str(numbers.corrwith(table[roles.rul], method="spearman").abs().idxmax())


def shuffled(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    name = strongest(t[1], roles)
    mixed = np.random.default_rng(0).permutation(t[0][name].to_numpy())
    return t[0].assign(**{name: mixed}), "relation", name


def copied(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    rows = t[1].sample(len(t[0]) // 10, random_state=0)
    rows = rows.assign(**{roles.life: t[0][roles.life].iloc[0]})
    return pd.concat([t[0], rows], ignore_index=True), "copies", ""


def copied_in_disguise(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    noisy = {n: t[1][n] + t[1][n].std() / 1000 for n in t[1].select_dtypes("float")}
    return copied((t[0], t[1].assign(**noisy), t[2]), roles)[0], "near_copies", ""


def cut_off(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    name = strongest(t[1], roles)
    return (
        t[0].assign(**{name: t[0][name].clip(upper=t[1][name].quantile(0.95))}),
        "upper_tail",
        name,
    )


def reversed_rul(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    most = t[0].groupby(roles.life)[roles.rul].transform("max")
    return t[0].assign(**{roles.rul: most - t[0][roles.rul]}), "wear", strongest(t[1], roles)


def unit_mixed_up(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    name = strongest(t[1], roles)
    return t[0].assign(**{name: t[0][name] * 1000}), "unit", name


Fault = Callable[[Parts, Roles], tuple[pd.DataFrame, str, str]]
FAULTS = [shuffled, copied, copied_in_disguise, cut_off, reversed_rul, unit_mixed_up]


@pytest.fixture(scope="module")
def undamaged(motor: pd.DataFrame, profile: Profile) -> dict[str, set[str]]:
    return accused(verdict(parts(motor, "life", seed=0), profile.roles, profile))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(
    fault: Fault, motor: pd.DataFrame, profile: Profile, undamaged: dict[str, set[str]]
) -> None:
    tables = parts(motor, "life", seed=0)
    damaged, kind, column = fault(tables, profile.roles)
    found = accused(verdict((damaged, *tables[1:]), profile.roles, profile))
    assert kind in found
    assert not column or column in found[kind]
    assert found[kind] != undamaged.get(kind)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_planted_in_real_lives_is_found(fault: Fault, turbofan: pd.DataFrame) -> None:
    tables = parts(turbofan, "unit", seed=0)
    damaged, kind, column = fault(tables, TURBOFAN)
    found = accused(verdict((damaged, *tables[1:]), TURBOFAN))
    assert kind in found
    assert not column or column in found[kind]


@pytest.mark.slow
def test_a_category_that_never_comes_is_found(motor: pd.DataFrame, profile: Profile) -> None:
    tables = parts(motor, "life", seed=0)
    common, lost = tables[1]["state"].value_counts().index[:2]
    damaged = tables[0].assign(state=tables[0]["state"].replace(lost, common))
    found = verdict((damaged, *tables[1:]), profile.roles, profile)
    (finding,) = [f for f in found.findings if f.kind == "missing_level"]
    assert finding.level == "bad"
    assert lost in finding.text


@pytest.mark.slow
def test_a_model_that_memorises_is_called_so(
    motor: pd.DataFrame, profile: Profile, undamaged: dict[str, set[str]]
) -> None:
    _, train, holdout = parts(motor, "life", seed=0)
    noise = np.random.default_rng(0).normal(0, 0.02, (len(train), len(SENSORS)))
    close = train.assign(**(train[SENSORS] + noise * train[SENSORS].std().to_numpy()))
    found = verdict((close, train, holdout), profile.roles, profile)
    (memory,) = [f for f in found.findings if f.kind == "memory"]
    assert memory.level == "bad" and "memorises" in memory.text
    assert all(f"of the {view}" in memory.text for view in ("rows", "windows", "lives"))
    assert "memory" not in undamaged


def test_the_words_on_memory_agree_with_the_figures() -> None:
    none = Memory(share=0.5, p=0.5)
    quiet = Privacy(
        copies=0, copies_real=0, near_copies=0.01, distance={}, adversarial={},
        memory={"rows": none, "lives": none},
    )  # fmt: skip
    hint = quiet.model_copy(update={"memory": {"rows": none, "lives": Memory(share=0.77, p=0.041)}})
    few_copies = quiet.model_copy(update={"copies": 0.00033})
    as_real = quiet.model_copy(update={"copies": 0.0004, "copies_real": 0.0005})
    for found, level, words in (
        (quiet, "good", ["No sign of memory: no copies"]),
        (as_real, "good", ["No sign of memory: 0.04 % of the rows", "0.05 % of held-out rows"]),
        (few_copies, "note", ["A hint of memory", "0.033 % of the rows", "0 % of held-out rows"]),
        (hint, "note", ["A hint of memory", "no copies", "77 % of the lives (p 0.041)"]),
    ):
        (said,) = _privacy(found)
        assert said.level == level
        assert [word for word in words if word not in said.text] == []


def some(table: pd.DataFrame, lives: int) -> pd.DataFrame:
    """The rows of the first so many lives."""
    return table[table["life"].isin(table["life"].unique()[:lives])].reset_index(drop=True)


@pytest.mark.parametrize(("seen", "held", "said"), [(1, 1, "1 life"), (6, 2, "6 lives")])
def test_on_few_lives_nothing_is_called_good(
    seen: int, held: int, said: str, motor: pd.DataFrame, profile: Profile
) -> None:
    drawn, train, holdout = parts(motor, "life", seed=0)
    found = verdict((drawn, some(train, seen), some(holdout, held)), profile.roles, profile)
    assert f"learned from {said} and the report holds out {held}:" in found.findings[0].text
    assert found.findings[0].text in found.headline
    assert found.level != "good" and not [f for f in found.findings if f.level == "good"]
    assert not any("No sign of memory" in f.text for f in found.findings)


@pytest.mark.parametrize(("seen", "held", "few"), [(12, 3, False), (4, 4, True), (5, 5, False)])
def test_lives_are_few_where_chance_alone_deals_them_out_so(
    seen: int, held: int, few: bool, motor: pd.DataFrame, profile: Profile
) -> None:
    drawn, train, holdout = parts(motor, "life", seed=0)
    found = verdict((drawn, some(train, seen), some(holdout, held)), profile.roles, profile)
    assert (found.findings[0].kind == "few_lives") == few


def test_the_headline_says_that_a_model_of_few_lives_memorises(
    motor: pd.DataFrame, profile: Profile
) -> None:
    _, train, holdout = parts(motor, "life", seed=0)
    train, holdout = some(train, 1), some(holdout, 1)
    noise = np.random.default_rng(0).normal(0, 0.001, (len(train), len(SENSORS)))
    close = train.assign(**(train[SENSORS] + noise * train[SENSORS].std().to_numpy()))
    close["rul"] = close["rul"].max() - close["rul"]  # which is worse, and comes first
    found = verdict((close, train, holdout), profile.roles, profile)
    assert next(f for f in found.findings if f.level == "bad").kind != "near_copies"
    assert "the model memorises" in found.headline
    share = privacy(compare(close, train, holdout, profile.roles, profile, 0), close, train)
    assert (share.memory["rows"].share or 0) > 0.9


def test_rows_that_make_no_lives_are_judged_as_rows(
    motor: pd.DataFrame, profile: Profile, undamaged: dict[str, set[str]]
) -> None:
    drawn, *real = parts(motor, "life", seed=0)
    loose = drawn.drop(columns=["life", "timestamp"]).sample(frac=1, random_state=0)
    found = accused(verdict((loose, *real), profile.roles, profile))
    assert set(found) == {*undamaged, "no_lives"}


@pytest.mark.slow
def test_a_second_real_sample_raises_no_alarm(motor: pd.DataFrame, profile: Profile) -> None:
    for seed in range(2):
        found = verdict(parts(motor, "life", seed), profile.roles, profile)
        assert found.level != "bad", found.headline


@pytest.mark.slow
def test_twenty_second_real_samples_raise_no_alarm(turbofan: pd.DataFrame) -> None:
    for seed in range(20):
        found = verdict(parts(turbofan, "unit", seed), TURBOFAN)
        assert found.level != "bad", (seed, found.headline)


@pytest.fixture(scope="module")
def whole(motor: pd.DataFrame, profile: Profile) -> QualityReport:
    said: list[str] = []
    found = evaluate(
        *parts(motor, "life", 1), profile.roles, profile, on_step=lambda _, what: said.append(what)
    )
    assert said == ["fidelity", "utility", "lives", "privacy", "physics", "detection"]
    return found


@pytest.mark.slow
def test_a_real_sample_is_judged_in_every_part(whole: QualityReport) -> None:
    assert whole.verdict.level != "bad", whole.verdict.headline
    rul = whole.utility[0]
    assert rul.kind == "rul"
    assert set(rul.scores) == {"real", "synthetic", "both", "interpolation"}
    assert set(whole.privacy.memory) == {"rows", "windows", "lives"}
    assert whole.life_figures is not None
    ours, mixed = (whole.life_figures.acf[name][0] for name in ("synthetic", "shuffled"))
    assert ours is not None and mixed is not None and ours < mixed


@pytest.mark.slow
def test_json_and_page_say_the_same(whole: QualityReport) -> None:
    again = QualityReport.model_validate_json(whole.model_dump_json())
    assert render_html(again) == render_html(whole)
    page = render_html(whole)
    assert "<script" not in page and "http" not in page
    assert f"{whole.figures['quality']:.3f}" in page
    assert all(word in page for word in ("Utility", "Privacy", "Lives", "Detection"))


@pytest.mark.slow
def test_a_plain_table_is_judged_by_rows(shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "ai4i2020.csv").drop(columns=["UDI", "Product ID"])
    order = np.random.default_rng(0).permutation(len(table))
    halves = [table.iloc[order[a:b]] for a, b in ((0, 4000), (4000, 8000), (8000, 10_000))]
    found = evaluate(*halves, Roles())
    assert found.split == "row" and found.life_figures is None
    assert found.utility[0].target == "Machine failure"
    assert set(found.utility[0].left_out) == {"TWF", "HDF", "PWF", "OSF"}
    assert found.verdict.level != "bad", found.verdict.headline


def test_what_cannot_be_compared_is_said(motor: pd.DataFrame, profile: Profile) -> None:
    drawn, train, holdout = parts(motor, "life", 0)
    with pytest.raises(BadTable, match="held-out table has no rows"):
        evaluate(drawn, train, holdout.iloc[:0], profile.roles)
    one = train[train["life"] == train["life"].iloc[0]]
    with pytest.raises(BadTable, match="only one life .*none could be held out.*more lives"):
        evaluate(drawn, one, holdout.iloc[:0], profile.roles)
    with pytest.raises(BadTable, match="lacks the columns state"):
        evaluate(drawn.drop(columns="state"), train, holdout, profile.roles)


def test_a_large_table_is_judged_by_whole_lives_and_says_so() -> None:
    life = np.repeat(np.arange(300), 100)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"life": life, "a": rng.normal(size=len(life)), "b": life % 3})
    sides = compare(table, table[:5000], table[5000:9000], Roles(life="life"), None, 0)
    assert len(sides.synthetic) == MAX_ROWS
    assert set(sides.synthetic["life"].value_counts()) == {100}
    assert sides.notes == ["20,000 of 30,000 synthetic rows (whole lives drawn at random)"]


def test_of_long_lives_stretches_are_judged() -> None:
    life = np.repeat(np.arange(30), 3000)
    age = np.tile(np.arange(3000), 30)
    table = pd.DataFrame({"life": life, "age": age, "a": np.sin(age), "rul": 2999 - age})
    roles = Roles(life="life", time="age", rul="rul")
    sides = compare(table[:60_000], table, table[60_000:], roles, None, 0)
    for some, lives in ((sides.synthetic, 20), (sides.train, 20), (sides.holdout, 10)):
        assert set(some["life"].value_counts()) == {1000} and some["life"].nunique() == lives
        assert set(some.groupby("life")["rul"].diff().dropna()) == {-1}
    assert sides.train.groupby("life")["rul"].last().between(0, 2000).all()
    assert sides.train.groupby("life")["rul"].last().nunique() > 10
    assert sides.notes[0] == "20,000 of 60,000 synthetic rows (stretches of 1,000 drawn at random)"


def test_memory_shows_in_rows_that_are_training_rows_with_noise() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(4_000, 6)), columns=list("abcdef"))
    train, holdout, fresh = table[:1500], table[1500:2500], table[2500:]
    close = train + rng.normal(0, 0.1, train.shape)
    for drawn, remembers in ((fresh, False), (close, True)):
        found = privacy(compare(drawn, train, holdout, Roles(), None, 0), drawn, train)
        share = found.memory["rows"].share
        assert share is not None and (share > 0.75) == remembers
        assert found.copies == 0


def telemetry(lives: int, seed: int) -> pd.DataFrame:
    """Lives of two sensors, the second of which follows the first; no remaining useful life."""
    rng = np.random.default_rng(seed)
    heat = rng.normal(size=(lives, 40)).cumsum(axis=1).ravel()
    life = np.repeat(np.arange(lives), 40)
    noise = rng.normal(0, 0.1, len(heat))
    return pd.DataFrame({"life": life, "heat": heat, "pressure": 2 * heat + noise})


def test_a_page_leaves_out_what_could_not_be_computed() -> None:
    tables = [telemetry(lives, seed) for seed, lives in enumerate((1, 2, 1))]
    found = evaluate(*tables, Roles(life="life"))
    page = render_html(found)
    assert found.detection.auc is None and found.figures["memory"] is not None
    assert "reaches an AUC of" not in page and "Not tried: half of the synthetic" in page
    assert "<h3>Detection</h3>" not in page and "<h3>Memory</h3>" in page
    assert "of 1 life that" in page and "learned from 2 lives and the report holds out 1:" in page
    assert "predict remaining useful life" not in page


def test_the_range_of_an_imported_table_is_not_called_a_measuring_range() -> None:
    train, holdout, drawn = (telemetry(lives, seed) for seed, lives in enumerate((8, 5, 5)))
    both = pd.concat([train, holdout])
    sensors = {
        name: Sensor(minimum=both[name].min(), typical=0, maximum=both[name].max())
        for name in ("heat", "pressure")
    }
    origin = Imported(files=["t.csv"], rows=len(both), columns=list(both))
    imported = Profile(machine_id="press", sensors=sensors, imported=origin)
    wide = drawn.assign(heat=drawn["heat"].where(drawn.index % 4 > 0, both["heat"].max() + 1))
    for profile, words in (
        (imported, "leaves what is known: 25 % of the rows of heat lie outside the range of the"),
        (
            imported.model_copy(update={"imported": None}),
            "leaves the possible: 25 % of the rows of heat lie outside its measuring range",
        ),
    ):
        said = verdict((wide, train, holdout), Roles(life="life"), profile)
        (outside,) = [each for each in said.findings if each.kind == "outside"]
        assert words in outside.text


@pytest.mark.slow
def test_conditions_that_were_asked_for_are_said() -> None:
    tables = [telemetry(lives, seed) for seed, lives in enumerate((5, 8, 5))]
    asked = "late_life 0.4"
    for words, found in ((asked, True), ("", False)):
        said = evaluate(*tables, Roles(life="life"), asked=words).verdict
        assert ("Conditions of these rows: late_life 0.4." in said.headline) is found
        assert ("conditions" in {each.kind for each in said.findings}) is found


@pytest.mark.slow
def test_rows_drawn_under_conditions_may_be_unlike_real_ones_but_not_copies() -> None:
    train, holdout = (telemetry(10, seed) for seed in range(2))
    hot = telemetry(10, 2)
    hot["heat"] = hot["heat"].clip(lower=hot["heat"].quantile(0.9))
    for rows, asked, level in (
        (hot, "", "bad"), (hot, "late_life 0.4", "care"),
        (train, "late_life 0.4", "bad"), (hot * 5, "late_life 0.4", "bad"),
    ):  # fmt: skip
        said = evaluate(rows, train, holdout, Roles(life="life"), asked=asked).verdict
        assert said.level == level


def test_how_far_a_counter_gets_is_no_range() -> None:
    train, holdout, drawn = (telemetry(lives, seed) for seed, lives in enumerate((8, 5, 5)))
    for table in (train, holdout, drawn):
        table["starts"] = np.arange(len(table)) % 40
    further = drawn.assign(starts=2 * drawn["starts"], heat=drawn["heat"] + 99)
    found = physics(compare(further, train, holdout, Roles(life="life"), None, 0))
    assert {each.column for each in found.ranges} == {"heat", "pressure"}


def test_small_and_odd_tables_are_judged_all_the_same() -> None:
    number = pd.Series([1.0, 2.0, np.inf, np.nan] * 10)
    odd = [
        (pd.DataFrame({"p": list("ab") * 20, "q": list("aabb") * 10}), Roles()),
        (pd.DataFrame({"p": np.ones(40), "q": np.ones(40)}), Roles()),
        (pd.DataFrame({"p": number, "q": number[::-1].to_numpy(), "r": number > 1}), Roles()),
        (pd.DataFrame({"life": range(40), "p": np.arange(40.0)}), Roles(life="life")),
    ]
    for table, roles in odd:
        found = privacy(compare(table, table, table, roles, None, 0), table, table)
        assert found.near_copies == found.near_copies_real
