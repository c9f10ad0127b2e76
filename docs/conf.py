"""The site: Sphinx with MyST-NB, so that the notebooks are the tutorials, and the PyData theme.

`make docs` executes the notebooks (`-t executed`) in a workspace of their own, with services that
end with the build. Without that tag they are shown as they are stored.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generated  # beside this file

import gan_lab

project = "gan_lab"
author = "the gan_lab developers"
version = release = gan_lab.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_click", "sphinx_design"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "reference/generated"]
default_role = "code"  # single backticks in docstrings
autodoc_typehints = "none"
nb_execution_mode = "off"
nb_execution_in_temp = True  # one of them writes a file
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
# A card that moves is, on a page, the HTML that it has been saved with.
nb_mime_priority_overrides = [
    ("html", "text/html", 1),
    ("html", "application/vnd.jupyter.widget-view+json", None),
]

html_theme = "pydata_sphinx_theme"
html_title = "gan_lab"
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False


def _without_links_to_the_repository(_app: Any, _page: str, source: list[str]) -> None:
    """Leave the words of links to files that are no pages, such as `../pyproject.toml`."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./(?!\w+/[\w-]+\.md)[^)]+\)", r"\1", source[0])


def setup(app: Any) -> None:
    """Write the pages that are made of the code; start a workspace where notebooks are executed."""
    generated.write(Path(__file__).parent / "reference" / "generated")
    app.connect("source-read", _without_links_to_the_repository)
    if app.tags.has("executed"):
        app.config.nb_execution_mode = "force"
        home = tempfile.mkdtemp(prefix="gan-lab-docs-")
        os.environ["GAN_LAB_HOME"] = home
        gan_lab = [sys.executable, "-c", "from gan_lab.cli import main; main()"]
        subprocess.run([*gan_lab, "init", home], check=True, stdout=subprocess.DEVNULL)
        app.connect("build-finished", lambda *_: subprocess.run([*gan_lab, "down"], check=False))
