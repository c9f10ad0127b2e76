"""From the end of an epoch to the pixel: measured in the page, kept for `make bench`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import ROOT, SCREENSHOTS, Lab, run_all

EPOCHS = int(os.environ.get("GAN_LAB_BENCH_EPOCHS", "12"))
SHOW = """import gan_lab as lab
from bench.watching import new_run
run = new_run()
print(run.task_id)
lab.watch(run)"""
# The time of the frame after the one in which the text has changed: then it is on the screen.
WATCH = """() => {
  window.seen = {};
  const look = () => {
    for (const view of document.querySelectorAll('.jp-OutputArea-output')) {
      const found = view.innerText.match(/epoch\\s+(\\d+) /);
      if (found && !(found[1] in window.seen))
        requestAnimationFrame(() => { window.seen[found[1]] ??= Date.now(); });
    }
  };
  const all = {subtree: true, childList: true, characterData: true};
  new MutationObserver(look).observe(document.body, all);
}"""


@pytest.mark.slow
def test_an_epoch_is_on_the_screen_at_once(lab: Lab, open_notebook: Callable[[str], Page]) -> None:
    lab.env["PYTHONPATH"] = str(ROOT)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SHOW}"
    page = open_notebook(lab.write("latency.ipynb", code))
    run_all(page)
    page.get_by_text("○ waiting").wait_for()
    page.evaluate(WATCH)
    task_id = page.locator(".jp-OutputArea-output pre").first.inner_text().strip()
    writer = [sys.executable, "-m", "bench.watching", task_id, str(EPOCHS)]
    subprocess.run(writer, cwd=ROOT, env=lab.env, check=True)
    page.get_by_text("✓ done").wait_for()
    seen = {int(epoch): moment for epoch, moment in page.evaluate("window.seen").items()}
    events = (lab.home / "runs" / task_id / "events.jsonl").read_text().splitlines()
    ended = {
        event["epoch"]: float(event["message"])
        for event in map(json.loads, events)
        if "epoch" in event
    }
    late_ms = [seen[epoch] - ended[epoch] for epoch in sorted(seen) if epoch > 2]
    figure = statistics.quantiles(late_ms, n=20)[-1]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / "latency.json").write_text(json.dumps({"p95_ms": figure, "all_ms": late_ms}))
    assert len(late_ms) >= EPOCHS // 2
    assert statistics.median(late_ms) < 1000
