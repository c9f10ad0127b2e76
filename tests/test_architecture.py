"""The rooms are what `docs/architecture.md` says, and the contracts that keep them can fail."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "gan_lab"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
CONTRACTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"

# Imports that a function hides: upwards, between two rooms of `synth`, in a circle, of torch.
# And what is said of each, where it is not the arrow itself.
WRONG = [
    ("gan_lab.workspace.files", "gan_lab.cluster.submit", None),
    ("gan_lab.synth.lives.packed", "gan_lab.synth.tabular.model", None),
    ("gan_lab.wire.connection", "gan_lab.wire.follow", "No cycles are allowed in gan_lab.wire."),
    ("gan_lab.cluster.models", "torch", None),
]


def test_an_import_inside_a_function_hides_nothing_from_the_contracts(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "gan_lab", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, imported, _ in WRONG:
        with (tmp_path / (module.replace(".", "/") + ".py")).open("a") as file:
            file.write(f"\n\ndef borrowed():\n    import {imported} as found\n    return found\n")
    command = [sys.executable, "-c", CONTRACTS, "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    said = [words or f"{module} -> {imported}" for module, imported, words in WRONG]
    assert [words for words in said if words not in run.stdout] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_in_a_few_sentences_what_it_is_for(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert said is not None
    said = said.partition("\n|")[0]  # a table of the files may follow
    assert 1 <= len(re.findall(r"[.:](?:\s|$)", said)) <= 6, said
    assert len(said.splitlines()) <= 8, said


def test_every_room_has_its_paragraph() -> None:
    rooms = [room.relative_to(PACKAGE).as_posix() for room in ROOMS if room != PACKAGE]
    assert [room for room in rooms if f"**`{room}/`**" not in DOCUMENT] == []


def test_the_picture_shows_the_layers_of_the_contract() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if "Rooms:" in contract["name"])
    wanted = [re.findall(r"gan_lab\.(\w+)", layer) for layer in layers]
    picture = re.search(r"```text\n(.*?)```", DOCUMENT, re.S)
    assert picture is not None
    shown = [line.split("│")[1] for line in picture[1].splitlines()]
    assert [re.findall(r"\w+", names) for names in shown] == wanted


def found(name: str) -> bool:
    """Whether there is such a file or folder; of a file named without its room, in any room."""
    bases = (ROOT, PACKAGE, *([] if "/" in name else ROOMS))
    return any((base / name).exists() for base in bases)


def test_files_that_are_mentioned_exist() -> None:
    mentioned = {
        name
        for name in re.findall(r"`([\w./-]+)`", DOCUMENT)
        if name.endswith((".py", ".jinja", "/"))
    }
    mentioned |= set(re.findall(r"\]\(\.\./([^)#]+)", DOCUMENT))
    assert len(mentioned) > 20
    assert sorted(name for name in mentioned if not found(name)) == []


def defined(path: Path) -> set[str]:
    """Return the names that a file defines, those of a class as `Class.name`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        names |= named(node)
        if isinstance(node, ast.ClassDef):
            inner = set().union(*map(named, node.body))
            names |= {f"{node.name}.{name}" for name in inner}
    return names


def named(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def test_names_that_are_mentioned_beside_a_file_are_defined_in_it() -> None:
    mentioned = [
        (match[1], name)
        for match in re.finditer(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, | and )?)+)", DOCUMENT)
        for name in re.findall(r"`([\w.]+)`", match[2])
    ]
    assert len(mentioned) > 20
    wrong = [
        (file, name)
        for file, name in mentioned
        if name
        not in defined(next(base / file for base in (PACKAGE, ROOT) if (base / file).exists()))
    ]
    assert wrong == []


def test_the_files_of_a_run_folder_are_files_that_the_workspace_names() -> None:
    listed = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`.*?) \|", DOCUMENT, re.M)))
    code = "".join(path.read_text() for path in (PACKAGE / "workspace").glob("*.py"))
    assert len(listed) > 12
    assert [name for name in listed if f'"{name}"' not in code] == []
