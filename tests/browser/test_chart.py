"""A chart of lives in a real browser: what is chosen is shown, without a kernel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser

from gan_lab.notebook.plots import life_with_rul
from gan_lab.schema import Roles

pytestmark = pytest.mark.slow
SHOWN = """() => {
  const [title] = [...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type === "Title" && model.text.endsWith(", synthetic"));
  const lives = new Set(), {data} = [...Bokeh.documents[0]._all_models.values()]
    .find(model => model.type === "ColumnDataSource");
  Array.from(data._y0).forEach((value, row) => Number.isNaN(value) || lives.add(data._life[row]));
  return [title.text, [...lives].sort()];
}"""


def test_failure_mode_and_sensor_are_chosen_without_a_kernel(browser: Browser) -> None:
    lives = pd.DataFrame({"unit": np.repeat(range(4), 30), "hour": np.tile(range(30), 4)})
    lives["rul"] = 29 - lives["hour"]
    lives["heat"], lives["noise"] = lives["hour"] ** 2, np.random.default_rng(0).normal(size=120)
    lives["mode"] = np.where(lives["unit"] % 2, "bearing", "winding")
    roles = Roles(life="unit", time="hour", rul="rul", failure_mode="mode")
    page = browser.new_page()
    page.set_content(life_with_rul(lives, roles, lives, most=1).html)
    page.locator("canvas").first.wait_for()
    assert page.evaluate(SHOWN) == ["heat, synthetic", ["0", "1", "2", "3"]]
    page.locator("select").nth(0).select_option("bearing")
    page.locator("select").nth(1).select_option("noise")
    assert page.evaluate(SHOWN) == ["noise, synthetic", ["1", "3"]]
    page.close()
