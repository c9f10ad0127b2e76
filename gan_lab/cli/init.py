"""The command that makes a workspace, for whoever has the package and no clone."""

from __future__ import annotations

from pathlib import Path

import click

from gan_lab.errors import BadParameter
from gan_lab.settings import workspace_path
from gan_lab.store import StorePath

PACKAGE = Path(__file__).parent.parent
COPIED = ("notebooks/*.ipynb", "data/machines/*.yaml")
FOLDERS = ("runs", "notebooks", "data/machines")
IGNORED = """# What gan-lab makes. Your machines' profiles and your notebooks are yours to keep.
.env
.ipynb_checkpoints/
/data/seed/
/data/synthetic/
/runs/
"""


@click.command()
@click.argument("folder", default=".")
def init(folder: str) -> None:
    """Make FOLDER a workspace: its folders, the notebooks, the machines, a .gitignore.

    What is there already stays as it is. s3://bucket/folder gets the machines alone: notebooks
    stay on a disk.
    """
    home = workspace_path(folder)
    in_store = isinstance(home, StorePath)
    if isinstance(home, StorePath):
        home.check()
        home.check_guards()
    elif home.exists() and not home.is_dir():
        raise BadParameter(f"{home} is a file: name a folder.")
    source = PACKAGE / "template"  # in a wheel; a clone has the same one folder up
    source = source if source.is_dir() else PACKAGE.parent
    for name in FOLDERS:
        (home / name).mkdir(parents=True, exist_ok=True)
    copied = COPIED[1:] if in_store else COPIED
    wanted = {path.relative_to(source): path for each in copied for path in source.glob(each)}
    missing = {name: path for name, path in wanted.items() if not (home / name).exists()}
    for target, path in missing.items():
        (home / target).write_bytes(path.read_bytes())
    if not in_store and not (home / ".gitignore").exists():
        (home / ".gitignore").write_text(IGNORED)
    where = home if in_store else home.resolve()
    click.echo(f"{where} is a workspace: {len(missing)} of {len(wanted)} files were new.")
    click.echo(
        "Next: `gan-lab fleet motor_siemens_001` does the main job for one machine, `gan-lab lab` "
        "opens the notebooks."
    )
