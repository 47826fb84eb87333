"""The Chinese README: its code equals that of the README, and its links and experiments exist."""

import re
from pathlib import Path

import typer

from optimlab.cli import app

PROJECT = Path(__file__).parents[1]
CHINESE = PROJECT / "docs/README.zh.md"


def blocks(file):
    return re.findall(r"```\w+\n.*?```", file.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_its_code_is_that_of_the_readme():
    ours = blocks(PROJECT / "README.md")
    theirs = blocks(CHINESE)
    assert len(theirs) == 6
    assert [block for block in theirs if block not in ours] == []


def test_what_it_links_and_runs_is_there():
    text = CHINESE.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    assert [link for link in links if not (CHINESE.parent / link).exists()] == []
    for name in re.findall(r"EXPERIMENT=(\w+)`", text):
        assert (PROJECT / f"experiments/{name}.toml").exists()


def test_its_commands_and_options_are_known():
    commands = typer.main.get_command(app).commands
    options = {option for each in commands.values() for one in each.params for option in one.opts}
    text = CHINESE.read_text(encoding="utf-8")
    assert set(re.findall(r"`optimlab (\w+)", text)) <= set(commands)
    assert set(re.findall(r"(?<= )--[a-z-]+", text)) <= options
