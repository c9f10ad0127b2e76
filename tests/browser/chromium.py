"""Chromium for the tests of the browser: found, or installed by `python -m tests.browser.chromium`.

`make test` calls the latter. It installs the distribution's package where it may, else playwright's
own build, and ends with status 1 where neither can be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

MISSING = "There is no Chromium for the tests of the browser (on Debian: apt-get install chromium)."
PACKAGES = ("chromium", "libatomic1")  # the latter for playwright's driver
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """Return the path of a Chromium that starts: on PATH, else playwright's own; None without."""
    from playwright.sync_api import sync_playwright

    for path in (*filter(None, map(shutil.which, NAMES)), None):
        try:
            with sync_playwright() as playwright:
                playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]).close()
                return path or playwright.chromium.executable_path
        except Exception:  # bare where playwright's driver does not start for want of a library
            continue
    return None


def install() -> None:
    """Try to install one: Debian's package as root, else playwright's build for this user."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
        package = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        subprocess.run(package, env=quiet, stdout=subprocess.DEVNULL, check=False)
    if find() is None:
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(command, capture_output=True, check=False)


if __name__ == "__main__":
    if find() is None:
        install()
    sys.exit(find() is None)
