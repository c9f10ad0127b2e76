"""The command that makes a workspace, for whoever has the package and no clone."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

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
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Make FOLDER a workspace: its folders, the notebooks, the machines, a .gitignore.

    What is there already stays as it is.
    """
    source = PACKAGE / "template"  # in a wheel; a clone has the same one folder up
    source = source if source.is_dir() else PACKAGE.parent
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(source): path for each in COPIED for path in source.glob(each)}
    missing = {name: path for name, path in wanted.items() if not (folder / name).exists()}
    for target, path in missing.items():
        shutil.copyfile(path, folder / target)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text(IGNORED)
    click.echo(
        f"{folder.resolve()} is a workspace: {len(missing)} of {len(wanted)} files were new."
    )
    click.echo(
        "Next: `gan-lab fleet motor_siemens_001` does the main job for one machine, `gan-lab lab` "
        "opens the notebooks."
    )


COMMANDS = (init,)
