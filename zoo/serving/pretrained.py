"""Trained models that come with the zoo: ``pretrained/NAME/VERSION/`` and a model card each.

A model card is ``pretrained/NAME/README.md``: a YAML head between two ``---`` lines with the fields
of `CARD_FIELDS`, then the sections of `CARD_SECTIONS`.
"""

import importlib.util
from pathlib import Path

from zoo.errors import ZooError

CARD_FIELDS = ("name", "model", "preset", "licence", "box", "voxel_size_angstrom", "latent_dim")
CARD_SECTIONS = ("Data", "Command", "Figures", "Limits")
LARGEST_BYTES = 10_000_000
PACKAGE = "zoo_pretrained"  # the folder pretrained/ under the name it has in a wheel


def pretrained_roots() -> list[Path]:
    """Folders that hold pretrained models: that of the repository, then that of the installed package."""
    home = Path(__file__).resolve().parents[2]
    # In site-packages a folder of that name would be somebody else's.
    roots = [home / "pretrained"] if (home / "setup.cfg").is_file() else []
    try:
        found = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        found = None
    if found is not None:
        roots += [Path(place) for place in found.submodule_search_locations or ()]
    return [root for root in dict.fromkeys(roots) if root.is_dir()]


def versions(folder: Path) -> list[int]:
    """The versions under a model's folder that hold a SavedModel, in rising order."""
    return sorted(
        int(each.name)
        for each in Path(folder).iterdir()
        if each.name.isdigit() and (each / "saved_model.pb").is_file()
    )


def list_pretrained() -> dict[str, Path]:
    """Name → folder of every pretrained model at hand."""
    found: dict[str, Path] = {}
    for root in pretrained_roots():
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and versions(folder):
                found.setdefault(folder.name, folder)
    return found


def load_pretrained(name: str, version: int | None = None):
    """The pretrained model `name` as a `zoo.serving.served.ServedModel`, its newest version by default.

    Raises ZooError if there is no such model or version.
    """
    from zoo.serving.served import ServedModel

    known = list_pretrained()
    if name not in known:
        raise ZooError(f"no pretrained model {name!r}; known are: {', '.join(known) or 'none'}")
    folder = known[name]
    version = version or versions(folder)[-1]
    if version not in versions(folder):
        raise ZooError(f"{folder}: has no version {version}, only {versions(folder)}")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return ServedModel(folder / str(version), name=name, card=text)


def read_card(folder) -> dict:
    """The YAML head of a model card. Raises ZooError if the card or its head is missing or broken."""
    import yaml

    path = Path(folder) / "README.md"
    if not path.is_file():
        raise ZooError(f"{path}: no model card; expected one beside the version folders")
    text = path.read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except Exception as error:  # of PyYAML, or of Python where a value cannot be what it says
        raise ZooError(f"{path}: its head is not YAML ({error})") from error
    if not isinstance(head, dict):
        raise ZooError(f"{path}: has no YAML head; expected `name: value` lines between two --- lines")
    return head


def check_pretrained(folder) -> list[str]:
    """What is wrong with one pretrained model, a line each; empty if nothing is.

    Checked: the card's fields and sections, that they agree with the SavedModel, and its size.
    """
    folder = Path(folder)
    problems: list[str] = []
    try:
        head = read_card(folder)
    except ZooError as error:
        return [str(error)]
    text = (folder / "README.md").read_text(encoding="utf-8")
    problems += [f"{folder}/README.md: its head lacks {key!r}" for key in CARD_FIELDS if key not in head]
    lines = {line.strip().lower() for line in text.splitlines()}
    problems += [
        f"{folder}/README.md: has no section '## {section}'"
        for section in CARD_SECTIONS
        if f"## {section}".lower() not in lines
    ]
    if head.get("name") != folder.name:
        problems.append(f"{folder}/README.md: is named {head.get('name')!r}, expected {folder.name!r}")
    found = versions(folder)
    if not found:
        problems.append(f"{folder}: holds no SavedModel, expected {folder}/1/saved_model.pb")
    for version in found:
        problems += _check_version(folder / str(version), head)
    return problems


def _check_version(folder: Path, head: dict) -> list[str]:
    from zoo.serving.served import ServedModel

    problems = []
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    if size >= LARGEST_BYTES:
        problems.append(f"{folder}: {size:,} bytes, expected less than {LARGEST_BYTES:,}")
    model = ServedModel(folder)
    for key in ("box", "latent_dim", "voxel_size_angstrom"):
        if key in head and abs(float(head[key]) - getattr(model, key)) > 1e-3:
            problems.append(f"{folder}: {key} is {getattr(model, key)}, its card says {head[key]}")
    return problems
