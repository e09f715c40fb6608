"""zoo-infer match with a generator's samples as the null: runs of one step, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded_complexes import embedded_complexes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms

pytest.importorskip("zoo.models.regressor3d.config")
BOX, VOXEL = 16, 24.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """known/ (5 maps), sim/, a run of wgan3d, its regressor3d and the regressor of another."""
    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.shards import PackSettings
    from zoo.models.regressor3d.config import Regressor3DConfig
    from zoo.models.wgan3d.config import WGAN3DConfig
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    folder = tmp_path_factory.mktemp("pseudo")
    found = embedded_complexes(BOX, VOXEL)
    settings = PackSettings(box=BOX, dtype="float32", normalisation="none", contrast=1)
    records = folder / "records"
    pack_maps(found.maps[:5], found.names[:5], records, settings, voxel_size_angstrom=VOXEL)
    (folder / "known").mkdir()
    for name, density in zip(found.names[:5], found.maps, strict=False):
        write_volume(folder / "known" / f"{name}.mrc", density, VOXEL)
    simulate_subtomograms(
        ClassMaps(found.maps[:3], VOXEL, found.names[:3]), folder / "sim",
        SubtomogramSettings(count=1, snr=1.0, quick=True),
    )  # fmt: skip

    def one(model, config, out, **more):
        small = {name: value for name, value in config.smallest.items() if name != "box"}
        options = {"data": records, "overrides": small, "strategy": "one", "sample_every": 0, **more}
        assert train(TrainSettings(model=model, out=folder / out, steps=1, **options))[1] == 0

    one("wgan3d", WGAN3DConfig, "run")
    one("regressor3d", Regressor3DConfig, "inverse", start_from=folder / "run")
    changed(folder, "other", lambda weights: [1.5 * each for each in weights])
    changed(folder, "collapsed", lambda weights: [0 * weights[0], *weights[1:]])
    return folder


def changed(folder, name, change):
    """A copy of the run whose generator has other weights."""
    import zoo

    shutil.copytree(folder / "run", folder / name)
    model = zoo.open_run(folder / name).keras_model
    model.generator_average.set_weights(change(model.generator_average.get_weights()))
    model.save(folder / name / "model.keras")


@pytest.fixture
def match(place, tmp_path, call):
    from zoo_tools.infer import app

    def run(*words):
        return call(
            app, "zoo-infer", "match", place / "sim" / "subtomograms.star", "--out", tmp_path / "out",
            "--step", 30, "--count", 24, "--threads", 1, "--contrast", "+1", *words,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_samples_are_the_null(place, tmp_path, match):
    """Packed maps as templates, a regressor beside the generator."""
    pseudo = ("--pseudo", place / "run", "--regressor", place / "inverse")
    code, said, err = match("--templates", place / "records", *pseudo)
    assert code == 0, err
    facts = json.loads((tmp_path / "out" / "matches.json").read_text())
    assert "pseudo-complexes of" in facts["null"] and "by the latents of" in facts["null"]
    assert set(facts["latents"]) == set(facts["left_out"])
    assert all(each["bandwidth"] > 0 for each in facts["latents"].values())
    assert facts["nulls"] <= 30 and sorted(facts["templates"]) == sorted(
        path.stem for path in (place / "known").iterdir()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--pseudo", "{}/collapsed"), "the generator has collapsed"),
        (("--pseudo", "{}/other", "--regressor", "{}/inverse"), "inverts another generator"),
        (("--pseudo", "{}/inverse", "--regressor", "{}/run"), "encode"),
        (("--pseudo", "{}/nowhere"), "nowhere"),
    ],
)
def test_runs_that_make_no_null_are_refused(place, tmp_path, match, words, expected):
    code, _, err = match("--templates", place / "known", *(word.format(place) for word in words))
    assert code == 2 and len(err.strip().splitlines()) == 1 and expected in err, err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_latents_know_a_template_again(place):
    """The maps that the source makes and encodes are the run's own, in the box asked for."""
    from zoo.analysis.pseudo_maps import generated_maps
    from zoo.serving.open_model import open_model
    from zoo_tools._pseudo import pseudo_source

    templates = embedded_complexes(BOX, VOXEL).maps[:3]
    source = pseudo_source(place / "run", place / "inverse", 0, True)(BOX, VOXEL, templates)
    model = open_model(place / "run", "generate")
    wanted = np.stack(list(generated_maps(model, source.latents(2, 4))))
    np.testing.assert_allclose(source.maps(2, 4), wanted, atol=1e-4)
    away = source.away_from(templates[0], 0, 50)
    assert away.shape == (50,) and source.density.points.shape[0] == 300
