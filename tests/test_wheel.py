"""The wheel and the sdist hold everything: installed elsewhere, outside the repository, they train."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
COPIED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "zoo", "tools", "pretrained", "docs")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory, repository):
    """(wheel, sdist) built from a copy of the checkout, as ``python -m build`` does."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        path = repository / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignore)
        else:
            shutil.copy(path, source / name)
    out = tmp_path_factory.mktemp("dist")
    # The wheel is made from the sdist, so a file that the sdist lacks is missed in both.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, distributions):
    """Python of a fresh environment with the wheel; what the wheel depends on is shared with ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--no-deps", "--no-index", distributions[0]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    site = Path(
        subprocess.check_output(
            [python, "-c", "import site; print(site.getsitepackages()[0])"], text=True
        ).strip()
    )
    # After the environment's own folder on the path, and without reading our .pth files: an
    # editable install of this checkout must not stand in for the wheel.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python, *words, cwd):
    """Run a program of the fresh environment, blind to the checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["ZOO_CACHE"] = str(cwd / "cache")
    return subprocess.run([*map(str, words)], capture_output=True, text=True, cwd=cwd, env=environment)


def test_names_in_the_wheel(distributions):
    names = zipfile.ZipFile(distributions[0]).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "zoo",
        "zoo_tools",
        "zoo_pretrained",
    }
    assert any(name.endswith("licenses/LICENSE") or name.endswith("dist-info/LICENSE") for name in names)


def test_every_module_is_in_both(distributions, repository):
    in_wheel = set(zipfile.ZipFile(distributions[0]).namelist())
    in_sdist = {name.partition("/")[2] for name in tarfile.open(distributions[1]).getnames()}
    modules = [
        path.relative_to(repository)
        for part in ("zoo", "tools")
        for path in (repository / part).rglob("*.py")
    ]
    assert len(modules) > 50
    for module in modules:
        assert str(module) in in_sdist
        assert (
            str(module).replace("tools/", "zoo_tools/", 1) in in_wheel
            if module.parts[0] == "tools"
            else str(module) in in_wheel
        )
    for path in (repository / "pretrained").rglob("*"):
        if path.is_file():
            assert f"zoo_pretrained/{path.relative_to(repository / 'pretrained')}" in in_wheel


def test_metadata(distributions):
    archive = zipfile.ZipFile(distributions[0])
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    for line in ("Name: cryozoo", "Requires-Python: >=3.10", "Description-Content-Type: text/markdown"):
        assert line in metadata
    assert "Apache-2.0" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert any("tensorflow>=2.21" in line for line in required)
    assert not any("<" in line.partition(";")[0] for line in required), "no upper pins"


def test_two_steps_outside_the_repository(elsewhere, tmp_path):
    where = run(
        elsewhere,
        elsewhere,
        "-c",
        "import zoo, zoo_tools; print(zoo.__file__, zoo_tools.__file__)",
        cwd=tmp_path,
    )
    prefix = str(elsewhere.parent.parent)
    assert all(path.startswith(prefix) for path in where.stdout.split()), where
    words = [
        "--model",
        "vaegan3d",
        "--steps",
        "2",
        "--batch-size",
        "8",
        "--sample-every",
        "0",
        "--out",
        "run",
    ]
    done = run(elsewhere, elsewhere.parent / "zoo-train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "model.keras").exists() and (tmp_path / "run" / "export" / "1").is_dir()


def test_inside_a_checkout_the_installed_tools_run(elsewhere, repository, tmp_path):
    """``./zoo`` and ``./tools`` of the working folder do not stand in the way of the commands."""
    done = run(elsewhere, elsewhere.parent / "zoo", "--help", cwd=repository)
    assert done.returncode == 0 and "train" in done.stdout, done.stderr
