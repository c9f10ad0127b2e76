"""Bokeh figures as HTML that needs neither a kernel nor the internet, in a notebook or on a page.

Each element brings BokehJS along, packed (0.5 MB), and a picture that stands until the script has
run. Where scripts do not run, as in a notebook that Jupyter does not trust, the picture stays.
"""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bokeh.plotting import figure

SCRIPT = """(async () => {
  const load = async () => {
    const bytes = Uint8Array.from(atob("%(library)s"), each => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return window.Bokeh;
  };
  const pages = window.gan_lab_bokeh ??= {};
  const bokeh = await (pages["%(version)s"] ??= load());
  document.getElementById("%(place)s").replaceChildren();
  await bokeh.embed.embed_item(%(item)s, "%(place)s");
})();"""


def as_html(plot: figure, picture: str) -> str:
    """Return a plot as an HTML element; `picture` is the element that stands in for it."""
    from bokeh import __version__
    from bokeh.embed import json_item

    place = f"gan-lab-{uuid.uuid4().hex}"
    item = json.dumps(json_item(plot)).replace("</", r"<\/")
    values = {"library": _library(), "version": __version__, "place": place, "item": item}
    return f'<div id="{place}">{picture}</div><script>{SCRIPT % values}</script>'


@cache
def _library() -> str:
    from bokeh.settings import settings

    script = Path(settings.bokehjs_path()) / "js" / "bokeh.min.js"
    return base64.b64encode(gzip.compress(script.read_bytes(), 9, mtime=0)).decode()
