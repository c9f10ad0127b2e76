"""One table of machines that wear, and a model of it, for all tests of lives."""

from __future__ import annotations

import pandas as pd
import pytest

from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import MACHINE_ROLES, fit, wearing_machines


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return wearing_machines()


@pytest.fixture(scope="session")
def model(table: pd.DataFrame) -> SequentialTVAE:
    return fit(table, MACHINE_ROLES)
