"""The README and the site name commands, options, functions and files that exist."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import gan_lab as lab
from gan_lab.cli import cli
from gan_lab.notebook.prognosis import Prognosis
from gan_lab.settings import Settings
from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in (ROOT / "docs").rglob("*.md") if "generated" not in page.parts),
]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.M | re.S)
FOR_TESTS = {"GAN_LAB_TEST_DATA"}
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def blocks(page: Path, language: str) -> Iterator[str]:
    for indent, kind, text in BLOCK.findall(page.read_text()):
        if kind == language:
            yield re.sub(rf"^{indent}", "", text, flags=re.M)


def named_commands(page: Path) -> Iterator[list[str]]:
    """The words of every `gan-lab ...` in code, inline or in a block."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    prose = BLOCK.sub("", page.read_text())
    for text in [*lines, *re.findall(r"`([^`\n]+)`", prose)]:
        if re.match(r"gan-lab [a-z]", text):
            yield shlex.split(text, comments=True)[1:]


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in named_commands(page):
        command: click.Command = cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, f"gan-lab {' '.join(words)}"
            command = found
            del words[0]
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert given - known == set(), f"{command.name} {' '.join(words)}"


@each_page
def test_python_calls_what_there_is(page: Path) -> None:
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = {"lab": lab, "answer": Prognosis}.get(node.value.id)
                assert owner is None or hasattr(owner, node.attr), ast.unparse(node)
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("lab."):
                called = getattr(lab, ast.unparse(node.func).removeprefix("lab."), None)
                if called is not None:  # else it goes on, as in lab.train(...).result()
                    names = {each.arg: None for each in node.keywords if each.arg}
                    inspect.signature(called).bind(*node.args, **names)
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gan_lab"):
                module = import_module(str(node.module))
                assert [each.name for each in node.names if not hasattr(module, each.name)] == []


@each_page
def test_targets_benchmarks_preloads_settings_and_files_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    benches = set(re.findall(r"python -m bench\.(\w+)", text))
    assert [name for name in benches if not (ROOT / "bench" / f"{name}.py").exists()] == []
    preloads = re.findall(r"--preload ([\w.]+)", text)
    assert [name for name in preloads if not hasattr(import_module(name), "dask_setup")] == []
    settings = {f"GAN_LAB_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"GAN_LAB_\w+", text)) <= settings | FOR_TESTS
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(re.sub(r"<!--.*?-->", "", text, flags=re.S).split()) <= 900


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "--max-rul" in (tmp_path / "reference" / "cli.html").read_text()
    assert "gan_lab.prognose" in (tmp_path / "reference" / "python.html").read_text()
    assert "GAN_LAB_RETRIES" in (tmp_path / "reference" / "settings.html").read_text()
