"""``zoo``: lists the commands and runs them as sub-commands."""

from __future__ import annotations

import importlib

from typer.core import TyperGroup
from typer.main import get_command

from zoo_tools._run import make_app, run

COMMANDS = ("train", "pack", "pick", "simulate", "infer", "export", "models")


class LazyGroup(TyperGroup):
    """Sub-commands from the sibling modules, imported when they are named or listed."""

    def list_commands(self, ctx) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name: str):
        if cmd_name not in COMMANDS:
            return None
        command = get_command(importlib.import_module(f"zoo_tools.{cmd_name}").app)
        command.name = cmd_name
        return command


app = make_app("Models for cryo-electron microscopy: pack particles, train, look at what was found.")
app.info.cls = LazyGroup
app.info.no_args_is_help = True


@app.callback()
def zoo() -> None:
    pass


def main() -> None:
    """Entry point of ``zoo``."""
    run(app, "zoo")
