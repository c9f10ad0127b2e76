"""What the README says about settings and commands is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from gan_lab.cli import cli
from gan_lab.settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text()


def variable(name: str) -> str:
    return "DASK_SCHEDULER_ADDRESS" if name == "scheduler_address" else f"GAN_LAB_{name.upper()}"


def test_settings_table_lists_every_setting_with_its_words() -> None:
    table = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (.*) \|$", README, flags=re.MULTILINE))
    described = {variable(name): field.description for name, field in Settings.model_fields.items()}
    assert table == described


def test_commands_named_exist() -> None:
    named = set(re.findall(r"gan-lab ([a-z]+)", README))
    listed = re.search(r"## On the command line\n\n(.*?):", README, flags=re.DOTALL)
    assert listed is not None
    named |= {name.split()[-1] for name in re.findall(r"`([a-z -]+)`", listed[1])}
    assert named - cli.commands.keys() == set()


def test_every_command_is_named() -> None:
    assert [name for name in cli.commands if not re.search(rf"`(gan-lab )?{name}\b", README)] == []


def test_make_targets_named_exist() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) - targets - {"sure"} == set()
