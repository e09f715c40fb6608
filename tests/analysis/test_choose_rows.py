"""Selections by cluster, by lists of uids and rows, by ranges of any column, and their complement."""

import numpy as np
import pytest
import starfile

from zoo.analysis.choose_rows import choose, open_particles
from zoo.analysis.latent import Latents
from zoo.data.formats.mrc import write_stack, write_volume
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles, write_particles
from zoo.data.reopen import SourceRecord
from zoo.errors import ZooError

OPTICS = """data_optics

loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
1 300 2.7 0.1 2.0
2 200 2.7 0.1 2.0
"""
HEAD = "\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnDefocusU\n_rlnGroupName\n"
HEAD += "_rlnClassNumber\n"
DEFOCUS = (10000, 20000, 12000, "nan", 15000, 30000)


@pytest.fixture
def star(tmp_path):
    stack = np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32)
    write_stack(tmp_path / "s.mrcs", stack, 2.0)
    rows = [f"{i + 1:06d}@s.mrcs {1 + i % 2} {DEFOCUS[i]} mic{i // 2} {1 + i // 3}\n" for i in range(6)]
    (tmp_path / "a.star").write_text(OPTICS + HEAD + "".join(rows))
    return tmp_path / "a.star"


@pytest.fixture
def latents(star):
    """Latents in the shuffled order of records; cluster -1, 0, 1 of rows 0 to 5: 0 0 1 1 -1 -1."""
    rows = np.array([3, 0, 5, 1, 2, 4])
    table = read_particles(star)
    cluster = np.array([0, 0, 1, 1, -1, -1])[rows]
    found = Latents(
        np.stack([rows, -rows], 1).astype(np.float32),
        np.zeros((6, 2), np.float32),
        table.uid[rows],
        rows,
        np.full(6, -1),
        str(star),
        origin=SourceRecord(str(star)).to_text(),
        extra={"cluster": cluster, "embedding": np.zeros((6, 2))},
    )
    found.save(star.parent / "clusters.npz")
    return star.parent / "clusters.npz"


def rows_of(place, out, **options):
    found = open_particles(place, out)
    found.write(choose(found, **options), out)
    return [int(name[:6]) - 1 for name in starfile.read(out, always_dict=True)["particles"]["rlnImageName"]]


def test_each_way_to_choose(latents, tmp_path):
    out = tmp_path / "out.star"
    uid = read_particles(tmp_path / "a.star").uid
    (tmp_path / "uids.txt").write_text(f"{uid[4]}\n{uid[1]}\n")
    (tmp_path / "rows.csv").write_text("source_row\n5\n0\n")
    np.save(tmp_path / "rows.npy", np.array([2, 3]))
    assert rows_of(latents, out, clusters=[0]) == [0, 1]
    assert rows_of(latents, out, clusters=[1, -1]) == [2, 3, 4, 5]
    assert rows_of(latents, out, uids=tmp_path / "uids.txt") == [1, 4]
    assert rows_of(latents, out, rows=tmp_path / "rows.csv") == [0, 5]
    assert rows_of(latents, out, rows=tmp_path / "rows.npy", complement=True) == [0, 1, 4, 5]
    assert rows_of(latents, out, where=["zooLatent0 > 1", "zooLatent1 >= -4"]) == [2, 3, 4]
    assert rows_of(latents, out, where=["rlnDefocusU<20000 and rlnVoltage == 300"]) == [0, 2, 4]
    assert rows_of(latents, out, where=["rlnGroupName == mic1"], complement=True) == [0, 1, 4, 5]
    assert rows_of(latents, out, where=["rlnGroupName != 'mic1'"], clusters=[1, -1]) == [4, 5]
    assert rows_of(latents, out, where=["zooCluster = -1"]) == [4, 5]
    assert rows_of(latents, out, where=["defocus_u_angstrom <= 12000"]) == [0, 2]
    # a defocus that is not known is neither above nor below, and so among the others
    assert rows_of(latents, out, where=["rlnDefocusU > 0"], complement=True) == [3]
    clusters = starfile.read(out, always_dict=True)["particles"]
    assert clusters["zooCluster"].tolist() == [1]


def test_from_the_file_itself_and_from_a_packed_set(star, tmp_path):
    out = tmp_path / "out.star"
    assert rows_of(star, out, where=["rlnClassNumber == 2"]) == [3, 4, 5]
    pack_particles(star, tmp_path / "packed", PackSettings(box=8, contrast=1, limit=3), processes=1)
    assert rows_of(tmp_path / "packed", out, where=["rlnDefocusU > 11000"]) == [1, 2]
    assert rows_of(tmp_path / "packed", out, where=["rlnDefocusU > 11000"], complement=True) == [0]
    table = read_particles(star)
    write_particles(table, tmp_path / "b.cs")
    found = open_particles(tmp_path / "b.cs", tmp_path / "c.cs")
    assert choose(found, where=["ctf/df1_A > 12000"]).tolist() == [1, 4, 5]
    found.write(np.array([1, 4]), tmp_path / "c.cs")
    assert np.load(tmp_path / "c.cs")["uid"].tolist() == table.uid[[1, 4]].tolist()
    assert open_particles(tmp_path / "b.cs", tmp_path / "c.cs").column("blob/shape[0]").tolist() == [8] * 6
    with pytest.raises(ZooError, match="blob/shape has 2 values a row"):
        choose(found, where=["blob/shape > 1"])


def test_subtomograms_by_class_and_picks_by_place(tmp_path):
    write_volume(tmp_path / "T.mrc", np.random.default_rng(0).normal(size=(20, 20, 20)).astype("f4"), 10.0)
    head = "data_particles\n\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
    head += "_rlnClassNumber\n"
    (tmp_path / "p.star").write_text(head + "".join(f"T {8 + i} 10 10 {1 + i % 2}\n" for i in range(4)))
    options = VolumeOptions(tomogram=str(tmp_path / "T.mrc"), tilt_range_deg=(-60, 60))
    pack_subtomograms(
        tmp_path / "p.star", tmp_path / "packed", PackSettings(box=8, contrast=1), options, processes=1
    )
    for place in ("packed", "p.star"):
        found = open_particles(tmp_path / place, tmp_path / "out.star")
        found.write(choose(found, where=["rlnClassNumber == 2"]), tmp_path / "out.star")
        kept = starfile.read(tmp_path / "out.star", always_dict=True)["particles"]
        assert kept["rlnCoordinateX"].tolist() == [9, 11]
    found = open_particles(tmp_path / "packed", tmp_path / "out.star")
    assert choose(found, where=["coordinate_x_voxel < 10"]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to choose by; give --keep, --uids, --rows or --where"),
        ({"where": ["zooLatent7 > 1"]}, "no column zooLatent7; the columns are zooLatent0, zooLatent1"),
        ({"where": ["zooLatent0"]}, "expected a column, one of"),
        ({"where": ["zooLatent0 > big"]}, "holds numbers, 'big' is none"),
        ({"where": ["rlnGroupName > mic1"]}, "holds text, which is only == or !="),
        ({"clusters": [7]}, "cluster 7 is empty"),
        ({"rows": "none.txt"}, "none.txt: no such file"),
        ({"rows": "nine.txt"}, "row 9 is not in .* \\(1 of 2 are not\\)"),
        ({"uids": "a.star"}, "not a list of whole numbers"),
    ],
)
def test_what_cannot_be_chosen_is_one_line(latents, tmp_path, options, words):
    (tmp_path / "nine.txt").write_text("0 9")
    options = {
        key: str(tmp_path / each) if key in ("rows", "uids") else each for key, each in options.items()
    }
    with pytest.raises(ZooError, match=words) as error:
        choose(open_particles(latents, "x.star"), **options)
    assert "\n" not in str(error.value)


def test_places_that_hold_no_particles(star, tmp_path):
    with pytest.raises(ZooError, match="has neither clusters.npz .* nor info.json"):
        open_particles(tmp_path, "x.star")
    with pytest.raises(ZooError, match="is the particle file itself"):
        open_particles(star, "x.star", source=star)
