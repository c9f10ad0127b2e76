"""On a GPU: the same numbers within rounding, nothing that waits for it in a batch, and lives too.

Skipped where there is no GPU; nothing here needs a service.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from gan_lab.schema import Epoch, Roles, TrainConfig
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.network.build import build_network
from gan_lab.synth.network.encoding import Encoding
from gan_lab.synth.network.schedule import EarlyStopping
from gan_lab.synth.network.training import Trainer, TvaeObjective
from gan_lab.synth.tabular.model import TabularTVAE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
LIFE_ROLES = Roles(life="unit", time="cycle", rul="rul")
EXACT = {"validation": 0.1}


def make_lives(lives: int = 12, rows: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    tables = []
    for unit in range(1, lives + 1):
        wear = np.linspace(0, 1, rows) ** 2
        table = {"unit": unit, "cycle": range(1, rows + 1), "rul": range(rows - 1, -1, -1)}
        table |= {"heat": 40 + 20 * wear + rng.normal(0, 1, rows)}
        table |= {"state": rng.choice(["idle", "load"], rows)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def make_rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    load = rng.choice([0.0, 50.0, 100.0], 2000)
    return pd.DataFrame(
        {
            "load": load,
            "heat": 20 + 0.6 * load + rng.normal(0, 2, 2000),
            "fault": rng.choice(["none", "hot"], 2000, p=[0.98, 0.02]),
        }
    )


def tabular(device: str, epochs: int = 3) -> TabularTVAE:
    options = {"decoder": "network", "batch_size": 200, "device": device}
    config = TrainConfig(epochs=epochs, **options, **EXACT)
    return TabularTVAE.fit(make_rows(), Roles(), config)


def sequential(
    device: str, resume: bytes | None = None, kept: list[bytes] | None = None
) -> SequentialTVAE:
    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        if kept is not None:
            kept.append(state())

    config = TrainConfig(epochs=12, batch_size=200, device=device, **EXACT)
    return SequentialTVAE.fit(make_lives(), LIFE_ROLES, config, resume=resume, on_checkpoint=keep)


def losses(history: list[Epoch]) -> list[float]:
    return [epoch.loss for epoch in history]


def test_auto_takes_the_gpu() -> None:
    assert tabular("auto", epochs=1).network.device.type == "cuda"


@pytest.mark.parametrize("fit", [tabular, sequential])
def test_losses_are_those_of_the_processor_within_rounding(
    fit: Callable[[str], TabularTVAE | SequentialTVAE],
) -> None:
    ours, processors = losses(fit("cuda").history), losses(fit("cpu").history)
    np.testing.assert_allclose(ours, processors, rtol=0.01, atol=0.01)


def test_rows_are_those_of_the_processor_within_rounding() -> None:
    model = tabular("cpu")
    drawn = pd.concat(model.sample(5000, seed=3))
    model.network.to("cuda")
    again = pd.concat(model.sample(5000, seed=3))
    assert (drawn["fault"] == again["fault"]).mean() > 0.999
    assert np.isclose(drawn["heat"], again["heat"], atol=1e-2).mean() > 0.999


def test_no_batch_waits_for_the_gpu() -> None:
    config = TrainConfig(batch_size=200, device="cuda", **EXACT)
    table = make_rows()
    encoding = Encoding.fit(table)
    network = build_network(encoding, config)
    rows = network.batch(encoding.encode(table))
    objective = TvaeObjective(network, rows, rows[:0], config, config.loss_factor)
    trainer = Trainer(
        objective, EarlyStopping(10, config.learning_rate, 10, 10, 0.0), config, seed=0
    )
    trainer.run_epoch()  # first use of a kernel may wait for its loading
    chosen = torch.arange(200, device="cuda")
    generator = torch.Generator().manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            trainer.step(chosen, generator, 50)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_lives_resume_and_are_drawn_on_the_gpu() -> None:
    kept: list[bytes] = []
    whole = sequential("cuda", kept=kept)
    assert whole.residual.tvae.network.device.type == "cuda"
    again = sequential("cuda", resume=kept[len(kept) // 2])
    np.testing.assert_allclose(losses(again.history), losses(whole.history), rtol=1e-3, atol=1e-3)
    drawn = pd.concat(whole.sample(lives=5, seed=1))
    assert drawn["unit"].nunique() == 5
    assert drawn.groupby("unit")["rul"].last().eq(0).all()
