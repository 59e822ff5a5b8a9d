"""What the documents tell people to type exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from qttseg.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES = [
    line.split("#")[0].strip()
    for document in DOCUMENTS
    for line in re.findall(r"(?:^ {4}|`)(qttseg [^`\n]+)", document.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_in_the_documents_parses(line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if words:
        assert command.make_context("qttseg", words).command is command
    else:
        assert command.help, f"{line} is a whole command"


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text())) <= targets
