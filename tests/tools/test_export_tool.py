import numpy as np
import pytest

from zoo_tools.export import app


@pytest.fixture
def export(call):
    return lambda *arguments: call(app, "zoo-export", *arguments)


@pytest.fixture(scope="module")
def inputs():
    random = np.random.default_rng(0)
    ctf = np.tile([15000.0, 14000, 30, 300, 2.7, 0.1, 0, 0, 1], (2, 1))
    return {
        "image": random.normal(size=(2, 32, 32, 1)).astype(np.float32),
        "ctf": ctf.astype(np.float32),
        "z": random.normal(size=(2, 3)).astype(np.float32),
        "euler_deg": random.uniform(0, 180, size=(2, 3)).astype(np.float32),
    }


def test_an_exported_run_gives_what_the_run_gives(export, small_run, inputs, tmp_path):
    from zoo.serving.open_model import load_run_model
    from zoo.serving.served import ServedModel

    code, out, _ = export(small_run, "--out", tmp_path / "served")
    assert code == 0
    assert "generate: z float32 (b, 3), euler_deg float32 (b, 3), ctf float32 (b, 9), seed int64 ()" in out
    model, served = load_run_model(small_run), ServedModel(tmp_path / "served" / "1")
    z, angles, ctf = (inputs[name] for name in ("z", "euler_deg", "ctf"))
    close = {"rtol": 0, "atol": 1e-5}
    for name in ("z_mean", "z_logvar"):
        expected = model.encode({"image": inputs["image"], "ctf": ctf})[name]
        np.testing.assert_allclose(served.encode(inputs["image"], ctf)[name], expected, **close)
    np.testing.assert_allclose(served.density(z), model.density(z), **close)
    clean = served.project(z, angles, ctf)
    np.testing.assert_allclose(clean, model.project(z, angles, ctf), **close)
    first, again, other = (served.generate(z, angles, ctf, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 32, 32, 1) and np.abs(first - other).std() > 0.1
    assert (served.latent_dim, served.box, served.voxel_size_angstrom) == (3, 32, 10.0)
    size = sum(path.stat().st_size for path in (tmp_path / "served").rglob("*") if path.is_file())
    assert size < 10_000_000


def test_bad_requests_are_told(export, small_run, tmp_path):
    def refused(message, *arguments):
        code, _, err = export(*arguments)
        assert code == 2 and err.count("\n") == 1 and message in err, err

    (tmp_path / "served" / "1").mkdir(parents=True)
    (tmp_path / "served" / "1" / "notes.txt").write_text("")
    refused("exists; pass --overwrite, or --version 2", small_run, "--out", tmp_path / "served")
    refused("has no saved_model.pb", small_run, "--out", tmp_path / "served", "--overwrite")
    refused("not a whole number from 1", small_run, "--out", tmp_path / "served", "--version", "0")
    refused("there is no such folder", tmp_path / "nowhere", "--out", tmp_path / "out")
    refused("is not a run folder", tmp_path / "served", "--out", tmp_path / "out")
    (tmp_path / "file").write_text("")
    refused("is a file, expected a folder", small_run, "--out", tmp_path / "file")
    assert (tmp_path / "served" / "1" / "notes.txt").exists() and not (tmp_path / "out").exists()
