"""2D tilt stacks of RELION 5 and WarpTools: read, packed, written back, and one line for what cannot be."""

import shutil

import numpy as np
import pytest
import tilt_sets as sets

from zoo.data.formats.fourier_weights import whole_of
from zoo.data.formats.mrc import write_stack
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import OWN_BOX, VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_subtomograms import read_packed
from zoo.data.reopen import reopen_source
from zoo.data.subtomograms import holds_subtomograms, read_subtomograms
from zoo.errors import ZooError

N = sets.N
RAW = PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1)


@pytest.fixture(scope="module")
def known():
    return sets.TiltSet()


@pytest.fixture(scope="module")
def written(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("relion5")
    known.write_relion(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "set")


def reader_of(path, **options):
    return TiltStackReader(read_subtomograms(path, **options))


def agreement(volume, weight, truth):
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.arange(N) - N // 2] * 3)))
    ours, expected = sets.spectrum(volume), sets.spectrum(truth) * whole_of(weight)
    ours, expected = ours[radius < N // 2 - 1], expected[radius < N // 2 - 1]
    return (ours * expected.conj()).sum().real / np.linalg.norm(ours) / np.linalg.norm(expected)


def refuses(call, *words):
    with pytest.raises(ZooError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, count))


def test_volumes_are_the_posed_map_times_the_weight(known, written):
    assert holds_subtomograms(written / "particles.star")
    reader = reader_of(written / "particles.star")
    assert (reader.box, len(reader)) == (N, 2)
    volumes = reader.read(slice(None))
    for row in range(2):
        truth = sets.known_map(blobs=known.blobs(row))
        assert agreement(volumes[row], reader.wedge(row, N), truth) > 0.97, row
    table = reader.table
    np.testing.assert_allclose(table.euler_deg(), known.euler)
    np.testing.assert_allclose(table.shift_angstrom(), known.origin)
    assert table.random_subset.tolist() == [1, 2]


def test_a_wrong_hand_turn_or_origin_is_seen(known, written, tmp_path):
    """That the test above could fail: what it reads is each needed."""
    right = reader_of(written / "particles.star")
    expected = [right.read([1])[0], right.wedge(1, N)]
    changes = {
        "tomograms.star": ("TS_01.star -1", "TS_01.star 1"),  # the defocus goes the other way with height
        "particles.star": (" -20 35 110 ", " 20 35 110 "),
    }
    for name, change in changes.items():
        copy = shutil.copytree(written, tmp_path / name)
        edit(copy / name, *change)
        other = reader_of(copy / "particles.star")
        volume, weight = other.read([1])[0], other.wedge(1, N)
        close = np.corrcoef(volume.ravel(), expected[0].ravel())[0, 1]
        assert close < (0.99 if name == "particles.star" else 1)
        assert not np.allclose(weight, expected[1], atol=0.05)


def test_a_tilt_out_of_sight_is_left_out_with_its_image(known, written):
    table = read_subtomograms(written / "particles.star")
    assert table.tilts.seen(0).tolist() == [*range(1, 5), *range(6, 31)]
    assert table.tilts.seen(1).tolist() == list(range(30))
    assert table.select([1]).tilts.seen(0).tolist() == list(range(30))
    assert table.select(slice(1)).tilts.visible.shape == (1, 31)


def test_warp_and_relion_say_the_same(known, written, tmp_path):
    warp = reader_of(known.write_warp(tmp_path / "warp"))
    relion = reader_of(written / "particles.star")
    np.testing.assert_allclose(warp.read([0]), relion.read([0]), atol=2e-5)
    np.testing.assert_allclose(warp.wedge(0, N), relion.wedge(0, N), atol=2e-3)


def test_images_not_premultiplied_give_nearly_the_same(known, written, tmp_path):
    known.write_relion(tmp_path, premultiplied=False)
    plain, multiplied = reader_of(tmp_path / "particles.star"), reader_of(written / "particles.star")
    ours, theirs = plain.read(slice(None)), multiplied.read(slice(None))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99  # those were cut before the second CTF
    np.testing.assert_allclose(plain.wedge(1, N), multiplied.wedge(1, N), atol=1e-3)


def test_the_tomograms_are_found_or_given(written, folder):
    expected = reader_of(written / "particles.star").read([0])
    for source in ("optimisation_set.star", "particles.star"):
        np.testing.assert_array_equal(reader_of(folder / source).read([0]), expected)
    (folder / "optimisation_set.star").unlink()
    assert reader_of(folder / "particles.star").box == N
    (folder / "tomograms.star").rename(folder / "elsewhere.star")
    refuses(
        lambda: read_subtomograms(folder / "particles.star"),
        "particles.star: holds 2D tilt stacks",
        "tomograms.star, which is not beside it",
        "--tomograms",
    )
    np.testing.assert_array_equal(
        reader_of(folder / "particles.star", tomograms=folder / "elsewhere.star").read([0]), expected
    )


def test_binned_places_are_recognised_and_said(known, written, tmp_path):
    star = known.write_warp(tmp_path / "warp")
    one = read_subtomograms(star)
    np.testing.assert_allclose(one.tilts.position_angstrom, [[0, 0, 0]], atol=1e-9)
    assert one.tilts.notes == ()
    rows = "".join(f"TS_01.tomostar {400 + i} 300 {100 + i} 0 0 0 1 1.mrcs FLAGS\n" for i in range(8))
    text = star.read_text()
    head, row = text.split("TS_01.tomostar", 1)
    star.write_text(head + rows.replace("FLAGS", row.split()[-1]))
    many = read_subtomograms(star)
    assert "binned by 4" in many.tilts.notes[0]
    np.testing.assert_allclose(
        many.tilts.position_angstrom[0], (np.array([400, 300, 100]) * 4 - sets.SIZE / 2) * 2
    )


@pytest.mark.parametrize("box", [N, N - 8])
def test_packed_records_hold_volume_and_weight(written, tmp_path, box):
    settings = PackSettings(box=box, dtype="float32", normalisation="none", contrast=1, shard_size_mb=1)
    result = pack_subtomograms(written / "optimisation_set.star", tmp_path / "out", settings, processes=1)
    assert check_dataset(tmp_path / "out", processes=1).count == 2
    assert result.info.wedge == "mask"
    assert result.info.source["options"] == {"tomograms": str(written / "tomograms.star")}
    assert reopen_source(result.info).tilts.series[0].name == "TS_01"
    reader = reader_of(written / "particles.star")
    order = result.info.load_table()["source_row"]
    for record in read_packed(result.info):
        row = int(order[int(record["index"])])
        volume = reader.read([row])[0]
        if box == N:
            np.testing.assert_allclose(record["volume"].reshape(volume.shape), volume, atol=1e-6)
        expected = whole_of(reader.wedge(row, box))
        np.testing.assert_allclose(record["wedge"], expected, atol=2e-3)


def test_processes_pack_the_same_bytes(written, tmp_path):
    settings = PackSettings(box=OWN_BOX, contrast=1, shard_size_mb=1)
    for name, processes in (("one", 1), ("two", 2)):
        pack_subtomograms(written / "particles.star", tmp_path / name, settings, processes=processes)
    for shard in DatasetInfo.load(tmp_path / "one").shards:
        assert (tmp_path / "one" / shard.name).read_bytes() == (tmp_path / "two" / shard.name).read_bytes()


def test_another_tomograms_file_is_another_set(folder, tmp_path):
    out = tmp_path / "out"
    pack_subtomograms(folder / "particles.star", out, RAW, processes=1)
    edit(folder / "tilt_series" / "TS_01.star", " 25000 25000 ", " 26000 26000 ")
    refuses(lambda: pack_subtomograms(folder / "particles.star", out, RAW), "another source")


def test_a_selection_is_written_with_every_column(folder):
    table = read_subtomograms(folder / "particles.star")
    extra = {"rlnClassNumber": np.array([3])}
    for relion5 in (False, True):
        write_subtomograms(table.select([1]), folder / "two.star", N, extra, relion5=relion5)
        old, new = (read_star_blocks(folder / name)[0] for name in ("particles.star", "two.star"))
        assert str(new["general"]["rlnTomoSubTomosAre2DStacks"]) == "1"
        assert new["optics"].equals(old["optics"])
        assert list(new["particles"]) == [*old["particles"], "rlnClassNumber"]
        for column in old["particles"]:
            assert new["particles"][column].tolist() == [old["particles"][column].iloc[1]], column
    np.testing.assert_array_equal(
        reader_of(folder / "two.star", tomograms=folder / "tomograms.star").read([0]),
        reader_of(folder / "particles.star").read([1]),
    )


def test_bad_sets_are_refused_in_one_line(folder):
    star, tomograms = folder / "particles.star", folder / "tomograms.star"
    tilts = folder / "tilt_series" / "TS_01.star"
    texts = {path: path.read_text() for path in (star, tomograms, tilts)}

    def without(path, *changes):
        """Read with a file changed, then put it back."""
        text = texts[path]
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)
        try:
            return reader_of(star).read(slice(None))
        finally:
            path.write_text(texts[path])

    refuses(
        lambda: without(star, ("\nTS_01 TS_01/2", "\nTS_02 TS_01/2")),
        "particles.star: row 2: tomogram TS_02 is not in",
        "it has TS_01",
        "--tomograms",
    )
    refuses(
        lambda: without(tilts, ("rlnMicrographPreExposure", "rlnOther")),
        "TS_01.star: column rlnMicrographPreExposure is missing",
        "dose",
    )
    refuses(lambda: without(tilts, ("rlnDefocusU", "rlnOther")), "column rlnDefocusU is missing")
    refuses(lambda: without(tilts, ("rlnTomoYTilt", "rlnOther")), "neither rlnTomoProjX", "not aligned")
    refuses(lambda: without(tilts, (" 25000 25000 ", " nan 25000 ")), "tilt 1: rlnDefocusU is nan")
    refuses(lambda: without(tomograms, ("rlnTomoHand", "rlnOther")), "tomogram TS_01: rlnTomoHand is missing")
    refuses(lambda: without(tomograms, ("TS_01.star -1", "TS_01.star 3")), "rlnTomoHand is 3")
    refuses(
        lambda: without(tomograms, ("tilt_series/TS_01", "tilt_series/TS_09")),
        "tilt_series/TS_09.star not found",
    )
    refuses(
        lambda: without(tomograms, ("star -1 2.0", "star -1 2.5")),
        "row 1: rlnTomoTiltSeriesPixelSize is 2 Å",
        "it is 2.5",
    )
    refuses(lambda: without(star, ("[0,1,", "[0,")), "row 1: rlnTomoVisibleFrames has 30 values", "31 tilts")
    refuses(lambda: without(star, ("[0,1,", "[x,1,")), "row 1: rlnTomoVisibleFrames is [x,1,")
    refuses(lambda: without(star, ("[0,1,", "[1,1,")), "holds 29 images", "31 tilts, 30 of them visible")
    refuses(lambda: without(star, ("rlnTomoName", "rlnOther")), "column rlnTomoName is missing")
    refuses(lambda: without(star, ("rlnCenteredCoordinateX", "rlnOtherX")), "the place in", "defocus")
    refuses(lambda: without(star, ("stacks/1_", "stacks/7_")), "row 1: stack stacks/7_stack2d.mrcs not found")
    images = np.zeros((29, N, N), np.float32)
    write_stack(folder / "stacks" / "1_stack2d.mrcs", images[:, :10, :10], sets.PIXEL)
    refuses(lambda: reader_of(star), "row 2", f"has a box of {N} pixels", "before it 10")
    write_stack(folder / "stacks" / "1_stack2d.mrcs", images[:, 1:], sets.PIXEL)
    refuses(lambda: reader_of(star), "row 1", f"{N} x {N - 1} pixels", "square")


def test_options_that_do_not_fit_are_refused(folder, tmp_path):
    star = folder / "particles.star"
    for options in ({"wedge": star}, {"tilt_range_deg": (-60, 60)}):
        refuses(lambda options=options: read_subtomograms(star, **options), "not for 2D tilt")
    refuses(
        lambda: pack_subtomograms(
            folder, tmp_path / "out", RAW, VolumeOptions(tomograms=str(folder / "tomograms.star"))
        ),
        "--tomograms is only for STAR files of 2D tilt stacks",
    )
    (folder / "optimisation_set.star").write_text("data_\n\n_rlnTomoParticlesFile particles.star\n")
    refuses(lambda: read_subtomograms(folder / "optimisation_set.star"), "rlnTomoTomogramsFile is missing")
    (folder / "optimisation_set.star").write_text(
        "data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile no.star\n"
    )
    refuses(lambda: read_subtomograms(folder / "optimisation_set.star"), "no.star, which is not there")


def test_aberrations_that_are_not_undone_are_refused(folder):
    edit(folder / "particles.star", "_rlnImageSize", "_rlnImageSize\n_rlnEvenZernike")
    edit(folder / "particles.star", f" {sets.PIXEL} {N}", f" {sets.PIXEL} {N} [0,0,0.1]")
    refuses(lambda: read_subtomograms(folder / "particles.star"), "rlnEvenZernike is not 0")
    edit(folder / "particles.star", "[0,0,0.1]", "[0,0,0]")
    assert len(read_subtomograms(folder / "particles.star")) == 2
