"""zoo-infer generate, interpolate and neighbours on a run of a step, and what they refuse."""

import json
import shutil

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.info import DatasetInfo
from zoo_tools._run import run
from zoo_tools.infer import app

BOX, VOXEL = 16, 24.0


def call(*words):
    with pytest.raises(SystemExit) as ended:
        run(app, "zoo-infer", [str(word) for word in words])
    return ended.value.code or 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with records of five complexes, a run of wgan3d, its regressor3d and one of another run."""
    import keras

    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.shards import PackSettings
    from zoo.models.regressor3d.config import Regressor3DConfig
    from zoo.models.wgan3d.config import WGAN3DConfig
    from zoo.simulate.embedded_complexes import embedded_complexes
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    folder = tmp_path_factory.mktemp("generators")
    found = embedded_complexes(BOX, VOXEL)
    settings = PackSettings(box=BOX, dtype="float32", normalisation="none", contrast=1)
    records = folder / "records"
    pack_maps(found.maps[:5], found.names[:5], records, settings, voxel_size_angstrom=VOXEL)
    for name, volume in zip(("a", "b"), found.maps, strict=False):
        write_volume(folder / f"{name}.mrc", volume, VOXEL)

    def one(model, config, out, **more):
        small = {name: value for name, value in config.smallest.items() if name != "box"}
        options = {"data": records, "overrides": small, "strategy": "one", "sample_every": 0, **more}
        assert train(TrainSettings(model=model, out=folder / out, steps=1, **options))[1] == 0

    one("wgan3d", WGAN3DConfig, "run")
    one("regressor3d", Regressor3DConfig, "inverse", start_from=folder / "run")
    # An inverse of another generator.
    shutil.copytree(folder / "inverse", folder / "inverse_of_other")
    model = keras.saving.load_model(folder / "inverse" / "model.keras")
    shuffled = np.random.default_rng(1).permutation
    model.generator.set_weights([shuffled(w.ravel()).reshape(w.shape) for w in model.generator.get_weights()])
    model.save(folder / "inverse_of_other" / "model.keras")
    return folder


def test_maps_are_drawn_by_seed_as_mrc(place, tmp_path, capsys):
    import zoo
    from zoo.analysis.pseudo_maps import generate_maps

    assert call("generate", place / "run", "--count", 3, "--seed", 5, "--out", tmp_path / "one") == 0
    assert "3 maps of 16 voxels at 24 Å" in capsys.readouterr().out
    volumes = [read_volume(path) for path in sorted((tmp_path / "one").glob("sample_*.mrc"))]
    assert len(volumes) == 3 and all(voxel == pytest.approx(VOXEL) for _, voxel in volumes)
    wanted = generate_maps(zoo.open_run(place / "run"), 3, 5)
    np.testing.assert_allclose(np.stack([volume for volume, _ in volumes]), wanted, atol=1e-5)
    series = json.loads((tmp_path / "one" / "series.json").read_text())
    assert np.shape(series["latents"]["sample"]) == (3, 6)
    assert "sample_*.mrc" in (tmp_path / "one" / "sample.cxc").read_text()


def test_the_exported_model_draws_the_same_maps(place):
    import zoo
    from zoo.analysis.pseudo_maps import generate_maps
    from zoo.serving.open_model import open_model

    served = open_model(place / "run" / "export")
    assert served.verbs == ["density", "generate", "features"] and served.latent_dim == 6
    ours = generate_maps(zoo.open_run(place / "run"), 3, 5)
    np.testing.assert_allclose(generate_maps(served, 3, 5), ours, atol=1e-5)


def test_maps_are_drawn_as_records(place, tmp_path):
    out = tmp_path / "rec"
    assert call("generate", place / "run", "--count", 4, "--out", out, "--records") == 0
    info = DatasetInfo.load(out)
    assert (info.kind, info.count, info.box, info.voxel_size_angstrom) == ("maps", 4, BOX, VOXEL)
    assert info.names == ("sample_000", "sample_001", "sample_002", "sample_003")


@pytest.mark.parametrize("words", [[], ["--regressor", "inverse"]])
def test_the_way_between_two_maps(place, tmp_path, words, capsys):
    words = [place / word if word == "inverse" else word for word in words]
    ends = ["--from", place / "a.mrc", "--to", place / "b.mrc"]
    code = call("interpolate", place / "run", *ends, "--steps", 4, "--out", tmp_path / "way", *words)
    assert code == 0 and len(list((tmp_path / "way").glob("step_*.mrc"))) == 4
    said = capsys.readouterr().out
    assert said.count("correlation") == 2 and "step.cxc" in said
    latents = np.array(json.loads((tmp_path / "way" / "series.json").read_text())["latents"]["step"])
    np.testing.assert_allclose(np.diff(latents, 2, axis=0), 0, atol=1e-5)


def test_neighbours_are_drawn(place, tmp_path, capsys):
    out = tmp_path / "n.png"
    assert call("neighbours", place / "run", "--out", out, "--count", 12, "--turns", 2, "--shown", 3) == 0
    assert "12 samples beside 5 known maps at 2 turns each" in capsys.readouterr().out
    assert out.stat().st_size > 5000


def test_latents_of_known_maps_are_written(place, tmp_path, capsys):
    assert call("encode", place / "inverse", "--out", tmp_path / "latents.npz") == 0
    with np.load(tmp_path / "latents.npz") as found:
        assert found["z_mean"].shape == (5, 6)
    assert "5 particles" not in capsys.readouterr().err


def test_a_regressor_says_in_its_config_what_it_inverts(place):
    config = json.loads((place / "inverse" / "config.json").read_text())
    assert config["start_from"] == str((place / "run").resolve())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "run", "--out", "x", "--count", "1001"], "--count 1001: at most 1,000 are written"),
        (["generate", "run", "--out", "x", "--seed", "-1"], "--seed -1: expected a whole number from 0"),
        (["generate", "none", "--out", "x"], "none: no such folder"),
        (["generate", "vaegan3d-tiny", "--out", "x"], "generates from z, euler_deg, ctf"),
        (
            ["interpolate", "run", "--from", "a.mrc", "--to", "none.mrc", "--out", "x"],
            "none.mrc: no such file",
        ),
        (
            ["interpolate", "run", "--from", "a.mrc", "--to", "b.mrc", "--out", "x", "--steps", "1"],
            "--steps 1",
        ),
        (["interpolate", "run", "--from", "flat.mrc", "--to", "b.mrc", "--out", "x"], "flat.mrc"),
        (
            ["interpolate", "run", "--from", "a.mrc", "--to", "b.mrc", "--out", "x", "--regressor"]
            + ["inverse_of_other"],
            "inverse_of_other: inverts another generator than",
        ),
        (
            ["interpolate", "run", "--from", "a.mrc", "--to", "b.mrc", "--out", "x", "--regressor", "run"],
            "run: wgan3d cannot encode",
        ),
        (["neighbours", "inverse", "--out", "x.png"], "inverse: regressor3d cannot features"),
        (["neighbours", "run", "--out", "x.jpg"], "x.jpg: the picture is a PNG file"),
        (["neighbours", "run", "--out", "x.png", "--data", "other_box"], "maps of 32 voxels"),
    ],
)
def test_bad_input_is_one_line(place, tmp_path, capsys, monkeypatch, words, message):
    if "other_box" in words:
        from zoo.simulate.embedded_data import embedded_map_records

        words = [*words[:-1], str(embedded_map_records(32))]
    for name in ("run", "inverse", "inverse_of_other", "a.mrc", "b.mrc"):
        (tmp_path / name).symlink_to(place / name)
    write_volume(tmp_path / "flat.mrc", np.ones((BOX,) * 3, np.float32), VOXEL)
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0], lines
    assert not list(tmp_path.glob("x*"))


def test_a_regressor_is_refused_another_box_or_shape(place, tmp_path):
    from zoo.errors import ZooError
    from zoo.models.regressor3d.config import Regressor3DConfig
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    small = {name: value for name, value in Regressor3DConfig.smallest.items() if name != "box"}
    options = {"model": "regressor3d", "data": place / "records", "strategy": "one", "steps": 1}
    with pytest.raises(ZooError, match="latent_dim=6; give --set latent_dim=6") as caught:
        overrides = {**small, "latent_dim": 5}
        train(TrainSettings(**options, overrides=overrides, start_from=place / "run", out=tmp_path / "run"))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
