"""The gate fails where there is no browser: a test that is left out says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import find_chromium


def test_without_a_browser_its_tests_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        find_chromium()
