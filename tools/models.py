"""``zoo models``: what the zoo holds."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("List the models.")


@app.command()
def models(
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="List the trained models instead.")
    ] = False,
) -> None:
    """List the models, their presets and what they train on; or those that come trained."""
    from rich.console import Console
    from rich.table import Table

    if pretrained:
        rows, columns = _pretrained_rows(), ["name", "model", "preset", "box", "folder"]
    else:
        rows, columns = _model_rows(), ["model", "input", "presets (* default)", "summary", "status", "paper"]
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 200).print(table)


def _model_rows() -> list[list[str]]:
    from zoo.registry import get_entry, list_models

    rows = []
    for name in list_models():
        entry = get_entry(name)
        presets = " ".join(
            preset + ("*" if preset == entry.default_preset else "") for preset in entry.presets
        )
        kinds = ", ".join(entry.takes.values())
        rows.append([name, kinds, presets, entry.summary, entry.status, entry.paper])
    return rows


def _pretrained_rows() -> list[list[str]]:
    from zoo.serving.pretrained import list_pretrained, read_card

    rows = []
    for name, folder in list_pretrained().items():
        card = read_card(folder)
        rows.append([name, *(str(card.get(key, "")) for key in ("model", "preset", "box")), str(folder)])
    return rows


def main() -> None:
    """Run ``zoo models`` alone."""
    run(app, "zoo models")
