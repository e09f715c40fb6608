"""Which way imports run (docs/architecture.md), read from the source."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Part of zoo → parts it may import, inside functions too; arrows run downwards only, without an exception.
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "input_files": {"errors"},
    "kernels": {"errors", "files"},
    "slurm": {"errors"},
    "config": {"errors", "input_files"},
    "registry": {"errors", "config"},
    "ops": {"kernels"},
    "layers": {"ops"},
    "engines": {"errors"},
    "models": {"errors", "config", "registry", "ops", "layers", "engines", "metrics"},
    "metrics": {"errors", "ops"},
    "data": {"errors", "files", "input_files", "slurm", "ops"},
    "picking": {"errors", "input_files", "data"},
    "simulate": {"errors", "files", "input_files", "ops", "data", "metrics"},
    "runs": {"errors", "config", "files", "input_files", "registry", "models", "data", "metrics", "simulate"},
    "analysis": {
        "errors",
        "config",
        "files",
        "input_files",
        "registry",
        "ops",
        "models",
        "data",
        "simulate",
        "metrics",
        "runs",
    },
    "serving": {"errors", "config", "files", "input_files", "registry", "models", "data", "runs"},
    "training": {
        "config",
        "errors",
        "files",
        "input_files",
        "slurm",
        "registry",
        "engines",
        "models",
        "data",
        "simulate",
        "metrics",
        "runs",
        "analysis",
        "serving",
    },
    "": {"errors", "registry", "data", "layers", "metrics", "ops", "runs", "serving"},
}
WITHOUT_TENSORFLOW = {
    "errors",
    "files",
    "input_files",
    "kernels",
    "slurm",
    "config",
    "registry",
    "ops",
    "layers",
    "models",
    "metrics",
    "picking",
    "simulate",
    "analysis",
    "runs",
    "",
}
WITH_JAX = {"engines", "training", "serving"}
FILES = sorted((REPOSITORY / "zoo").rglob("*.py"))


def part_of(path: Path) -> str:
    """``ops`` for zoo/ops/ctf.py, ``errors`` for zoo/errors.py, the empty text for zoo/__init__.py."""
    parts = path.relative_to(REPOSITORY / "zoo").with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_run_one_way(path):
    part = part_of(path)
    for name in imported(path):
        top = name.split(".")[0]
        assert top != "zoo_tools", f"{path}: {part} imports {name}"
        if name.startswith("zoo."):
            other = name.split(".")[1]
            if other in ALLOWED and other != part:
                assert other in ALLOWED[part], f"{path}: {part} imports {name}"
        if top in ("tensorflow", "tensorboard"):
            assert part not in WITHOUT_TENSORFLOW, f"{path}: {part} imports {name}"
        if top in ("jax", "jaxlib"):
            assert part in WITH_JAX, f"{path}: {part} imports {name}"


def test_all_parts_are_known():
    assert {part_of(path) for path in FILES} <= set(ALLOWED)


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    folders = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for path in (REPOSITORY / "zoo").rglob("__init__.py")
    }
    assert listed == folders | {"zoo_tools", "zoo_pretrained"}


def test_import_zoo_loads_nothing_heavy():
    heavy = "tensorflow", "keras", "jax", "numpy", "scipy", "sklearn", "matplotlib", "umap", "pandas"
    script = f"import sys, zoo; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imported_names(path: Path) -> list[tuple[str, str]]:
    """(module, name) of every import from ``zoo`` in a file; the name is "" where a module is imported."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoo":
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "zoo"]
    return found


@pytest.mark.parametrize("path", sorted((REPOSITORY / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_imports_what_is_there(path):
    """They are run by hand: nothing else tells when a module that they need has moved."""
    for module, name in imported_names(path):
        place = REPOSITORY.joinpath(*module.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        assert file.is_file(), f"there is no {module}"
        submodule = place / f"{name}.py", place / name / "__init__.py"
        if name and not any(each.is_file() for each in submodule):
            assert name in file.read_text(encoding="utf-8"), f"{module} has no {name}"
