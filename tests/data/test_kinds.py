"""What a kind of records says of itself, and that nothing else asks which kind it is."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.data.info import DatasetInfo
from zoo.data.kinds import KINDS, kind_named, kind_of, require_kind
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles
from zoo.data.records.check import check_dataset
from zoo.data.subtomograms import read_subtomograms
from zoo.data.tables.map_table import MapTable
from zoo.data.tables.particle_table import ParticleTable
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for part in ("zoo", "tools") for path in (REPOSITORY / part).rglob("*.py"))


@pytest.fixture(scope="module")
def subtomograms(tmp_path_factory):
    """(STAR, DatasetInfo) of six simulated subtomograms."""
    folder = tmp_path_factory.mktemp("subtomograms")
    simulate_subtomograms(embedded_classes(12), folder / "set", SubtomogramSettings(2, snr=1.0, quick=True))
    star = folder / "set" / "subtomograms.star"
    settings = PackSettings(box=OWN_BOX, dtype="float32", contrast=1)
    pack_subtomograms(star, folder / "rec", settings, processes=1)
    return star, DatasetInfo.load(folder / "rec")


def compares_kinds(path: Path) -> list[int]:
    """Lines on which a file compares something with the name of a kind."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asks = any(isinstance(side, ast.Attribute) and side.attr.endswith("kind") for side in sides)
            names = any(isinstance(side, ast.Constant) and side.value in KINDS for side in sides)
            if asks and names:
                lines.append(node.lineno)
    return lines


def test_the_search_for_comparisons_finds_one(tmp_path):
    (tmp_path / "a.py").write_text('if info.kind == "subtomograms":\n    pass\n')
    assert compares_kinds(tmp_path / "a.py") == [1]


def test_nothing_asks_for_a_kind_by_its_name():
    found = {str(path): lines for path in SOURCES if (lines := compares_kinds(path))}
    assert not found, f"ask the Kind instead: {found}"


@pytest.mark.parametrize("name", KINDS)
def test_fields_are_columns_of_the_table(name):
    kind = KINDS[name]
    assert kind.name == name and kind.feature in ("image", "volume", "map")
    named = [field.in_batches for field in kind.schema.fields if field.in_batches]
    assert len(set(named)) == len(named)
    for field in kind.schema.fields:
        assert set(field.columns) <= set(kind.column_types), field.name


@pytest.mark.parametrize("table", [ParticleTable, SubtomogramTable, MapTable])
def test_tables_know_their_kind(table):
    kind = kind_of(table)
    assert kind.column_types is table.column_types and kind.schema.ndim == table.image_ndim


def test_kinds_cost_no_tensorflow():
    heavy = "tensorflow", "keras", "pandas"
    script = f"import sys, zoo.data.kinds; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_kind_is_refused_in_its_words(subtomograms):
    _, info = subtomograms
    require_kind(info, "subtomograms")
    for name, words in (("particles", "2D particle images"), ("maps", "density maps")):
        with pytest.raises(ZooError, match=f"holds subtomograms, expected {words}"):
            require_kind(info, name)


@pytest.mark.parametrize("kind", ["micrographs", ""])
def test_an_unknown_kind_in_info_json_is_one_line(subtomograms, tmp_path, kind):
    _, info = subtomograms
    content = json.loads((Path(info.path) / "info.json").read_text())
    (tmp_path / "info.json").write_text(json.dumps(content | {"kind": kind}))
    with pytest.raises(
        ZooError, match=f"info.json: kind '{kind}', expected one of particles, subtomograms, m"
    ):
        DatasetInfo.load(tmp_path)
    with pytest.raises(ZooError, match="^kind 'cubes'"):
        kind_named("cubes")


@pytest.mark.parametrize("change", [{"kind": None}, {"kind": ["maps"]}])
def test_a_kind_that_is_no_name_is_damage(subtomograms, tmp_path, change):
    _, info = subtomograms
    content = json.loads((Path(info.path) / "info.json").read_text())
    (tmp_path / "info.json").write_text(json.dumps(content | change))
    with pytest.raises(ZooError, match="info.json: "):
        DatasetInfo.load(tmp_path)


def test_info_of_an_earlier_zoo_opens(subtomograms, tmp_path):
    """Sets packed before there were labels of voxels and names of maps."""
    _, info = subtomograms
    content = json.loads((Path(info.path) / "info.json").read_text())
    for name in ("voxel_labels", "names"):
        del content[name]
    (tmp_path / "info.json").write_text(json.dumps(content))
    old = DatasetInfo.load(tmp_path)
    assert (old.voxel_labels, old.names, old.kind) == ({}, (), "subtomograms")


def test_columns_come_back_to_particles_by_record(make_particles, tmp_path):
    star, _ = make_particles(tmp_path, 30, 8)
    pack_particles(star, tmp_path / "rec", PackSettings(box=8), processes=1)
    info = DatasetInfo.load(tmp_path / "rec")
    rows = info.load_table()["source_row"]
    assert not np.array_equal(rows, np.arange(30)), "packing shuffles, or this test proves nothing"
    kind = kind_of(info)
    assert kind.write_columns(info, tmp_path / "out.star", {"zooScore": rows * 10}) == 30
    back = read_particles(tmp_path / "out.star")
    written = back.source.blocks[back.source.particle_block]["zooScore"].astype(int)
    np.testing.assert_array_equal(written, np.arange(30) * 10)
    np.testing.assert_array_equal(back.defocus_u_angstrom, read_particles(star).defocus_u_angstrom)
    with pytest.raises(ZooError, match="zooScore has 29 values for 30 particles"):
        kind.write_columns(info, tmp_path / "short.star", {"zooScore": rows[:29]})
    assert not (tmp_path / "short.star").exists()


def test_columns_come_back_to_subtomograms_by_record(subtomograms, tmp_path):
    star, info = subtomograms
    rows = info.load_table()["source_row"]
    kind_of(info).write_columns(info, tmp_path / "out.star", {"rlnClassNumber": rows + 1})
    back = read_subtomograms(tmp_path / "out.star")
    assert back.source.blocks[back.source.particle_block]["rlnClassNumber"].astype(int).tolist() == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip
    np.testing.assert_allclose(back.euler_deg(), read_subtomograms(star).euler_deg(), atol=1e-5)


def test_a_source_that_changed_or_is_gone_is_refused(make_particles, tmp_path):
    star, _ = make_particles(tmp_path, 12, 8)
    pack_particles(star, tmp_path / "rec", PackSettings(box=8), processes=1)
    info = DatasetInfo.load(tmp_path / "rec")
    star.rename(tmp_path / "moved.star")
    with pytest.raises(ZooError, match="particles.star"):
        kind_of(info).read_source(info)
    assert len(kind_of(info).read_source(info, tmp_path / "moved.star")) == 12
    make_particles(tmp_path, 6, 8)
    with pytest.raises(ZooError, match="has changed since it was packed"):
        kind_of(info).read_source(info)


def test_check_is_that_of_the_kind(subtomograms):
    _, info = subtomograms
    assert kind_of(info).check(info, 1).count == check_dataset(info.path, 1).count == 6
