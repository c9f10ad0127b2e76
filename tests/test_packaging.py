"""The project's own promises about set-up: what is pinned, what is imported, how quickly."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import distributions, metadata, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
HEAVY = ["torch", "sdv", "distributed", "papermill", "ipywidgets"]
FILES = {r"^notebooks/[^/]+\.ipynb$": " notebooks/*.ipynb"}  # as pre-commit and as Make say it
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", Requirement(requirement).name).lower()


@cache
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name_of(line): line for line in lines if line and not line.startswith("#")}


def test_every_pin_is_a_name_and_a_version() -> None:
    assert [line for line in pins().values() if not re.fullmatch(r"[\w.\-]+==[\w.]+", line)] == []


def test_everything_declared_is_pinned() -> None:
    declared = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    assert {name_of(line) for line in declared} - pins().keys() == set()


def test_every_licence_is_one_that_was_looked_at() -> None:
    found: dict[str, str] = {}

    def look(name: str) -> None:
        if (key := name_of(name)) in found:
            return
        facts = metadata(name)
        classes = [line for line in facts.get_all("Classifier") or () if line.startswith("License")]
        said = facts.get("License-Expression") or facts.get("License") or ""
        found[key] = " ".join(classes) or said.partition("\n")[0]
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                look(needed.name)

    look("gan-lab")
    free = re.compile("MIT|BSD|Apache|ISC|Python Software|PSF|MPL|Mozilla", re.IGNORECASE)
    others = {name for name, text in found.items() if not free.search(text)}
    assert others - {"gan-lab"} == {"sdv", "ctgan", "rdt", "copulas", "deepecho"}


def test_every_pin_can_be_had_for_the_lowest_python() -> None:
    """Of 3.11 Debian 12 has the third release."""
    lowest = PROJECT["requires-python"].removeprefix(">=") + ".2"
    facts = [each.metadata for each in distributions()]
    wants = {f"{each['Name']}=={each['Version']}": each.get("Requires-Python") for each in facts}
    pinned = [line for line in pins().values() if line in wants]
    assert len(pinned) > 100
    assert [line for line in pinned if lowest not in SpecifierSet(wants[line] or "")] == []


def test_conda_environment_equals_the_project() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = environment["dependencies"]
    python = next(item for item in packages if item.startswith("python="))
    assert PROJECT["requires-python"] == ">=" + python.removeprefix("python=")
    declared = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    wanted = {pins()[name_of(line)] for line in declared}
    requirements = set(pip["pip"]) - {"--constraint constraints.txt", "--editable ."}
    assert requirements == wanted


def test_import_is_light() -> None:
    code = f"import sys, gan_lab; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["tasks", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    heavy = [*HEAVY, "pydantic"] if arguments == ["--help"] else HEAVY
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print([m for m in {heavy!r} if m in sys.modules]))\n"
        f"from gan_lab.cli import main; main({arguments!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert run.stdout.startswith("Usage:")


def test_public_names_exist() -> None:
    import gan_lab

    assert [name for name in gan_lab.__all__ if not getattr(gan_lab, name, None)] == []


def test_pre_commit_runs_what_make_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe is not None
    # Make says nothing where nothing is wrong; pre-commit does so by itself.
    commands = [line.strip().partition(" >/dev/null")[0] for line in recipe[1].splitlines()]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"] + FILES.get(hook.get("files"), "") for hook in repository["hooks"]]
    assert hooks == [command.replace("$(BIN)", ".venv/bin") for command in commands]


def test_the_changelog_begins_with_this_version() -> None:
    import gan_lab

    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", changelog, re.M)
    assert [versions[0], versions[1][0]] == [("Unreleased", ""), gan_lab.__version__]
    assert all(date for _, date in versions[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", changelog, re.M)) <= kinds


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "gan_lab" / "py.typed").exists()
    ignored = (ROOT / ".gitignore").read_text()
    assert "typed" not in ignored, "hatch leaves out of the wheel what git ignores"
