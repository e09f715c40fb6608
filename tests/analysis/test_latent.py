import numpy as np
import pytest

from zoo.analysis.latent import Latents, check_latent_size
from zoo.analysis.rows import apply_to_batches
from zoo.errors import ZooError


def make_latents(n=7, d=3):
    random = np.random.default_rng(0)
    return Latents(
        z_mean=random.normal(size=(n, d)).astype(np.float32),
        z_logvar=random.normal(size=(n, d)).astype(np.float32),
        uid=np.array([2**64 - 1 - i for i in range(n)], np.uint64),
        source_row=np.arange(n)[::-1].copy(),
        label=np.arange(n) % 2,
        source="particles.star",
        model="vaegan3d",
    )


def batches(images, sizes):
    start = 0
    for size in sizes:
        rows = np.arange(start, start + size)
        yield {
            "image": images[rows],
            "ctf": np.repeat(rows[:, None], 9, axis=1).astype(np.float32),
            "uid": rows * 10,
            "source_row": rows,
            "label": rows % 3,
        }
        start += size


def test_save_and_load_keep_everything(tmp_path):
    latents = make_latents()
    latents.extra = {"cluster": np.arange(7)}
    latents.save(tmp_path / "a.npz")
    read = Latents.load(tmp_path / "a.npz")
    for name in ("z_mean", "z_logvar", "uid", "source_row", "label"):
        np.testing.assert_array_equal(getattr(read, name), getattr(latents, name))
        assert getattr(read, name).dtype == getattr(latents, name).dtype
    assert (read.source, read.model) == ("particles.star", "vaegan3d")
    np.testing.assert_array_equal(read.extra["cluster"], np.arange(7))
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]


def test_latents_alone_are_enough(tmp_path):
    np.savez(tmp_path / "own.npz", z_mean=np.ones((2, 3), np.float64))
    read = Latents.load(tmp_path / "own.npz")
    assert read.z_mean.dtype == np.float32 and (read.label == -1).all() and not read.labels_known


def test_every_image_is_encoded_once_in_batches_of_one_size():
    images = np.random.default_rng(1).normal(size=(11, 4, 4, 1)).astype(np.float32)
    seen, counted = [], []

    def encode(batch):
        image = batch["image"]
        seen.append(image.shape)
        return {"z_mean": image.reshape(len(image), -1)[:, :2] + batch["ctf"][:, :1]}

    features, kept = ("image", "ctf"), ("source_row",)
    parts = []
    for part in apply_to_batches(encode, batches(images, [4, 4, 3]), features, 4, kept):
        parts.append(part)
        counted.append(sum(len(each["z_mean"]) for each in parts))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    np.testing.assert_allclose(found["z_mean"], images.reshape(11, -1)[:, :2] + np.arange(11)[:, None])
    np.testing.assert_array_equal(found["source_row"], np.arange(11))
    assert seen == [(4, 4, 4, 1)] * 3 and counted == [4, 8, 11]


def test_no_batches_give_no_rows():
    assert list(apply_to_batches(lambda batch: batch, [], ("image",), 4)) == []


def test_latents_of_another_size_are_told():
    class Model:
        latent_dim = 10

    with pytest.raises(ZooError, match="a.npz: latents of 3 coordinates, but the model has 10"):
        check_latent_size(make_latents(), Model, "a.npz")
    Model.latent_dim = 3
    check_latent_size(make_latents(), Model, "a.npz")


def _object_array(path):
    np.savez(path, z_mean=np.array([{"a": 1}], object))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"PK\3\4 cut short"), "not an .npz"),
        (lambda path: path.write_text("hello"), "not an .npz"),
        (lambda path: np.save(open(path, "wb"), np.ones(3)), "not an .npz"),
        (_object_array, "not an .npz of plain arrays"),
        (lambda path: np.savez(path, z=np.ones((2, 2))), "expected a column z_mean"),
        (lambda path: np.savez(path, z_mean=np.ones(4)), r"of shape \(4,\)"),
        (lambda path: np.savez(path, z_mean=np.ones((0, 2))), "n > 0"),
        (lambda path: np.savez(path, z_mean=np.array([[0.0], [np.nan]])), "row 1 is not finite"),
        (lambda path: np.savez(path, z_mean=np.ones((2, 2)), uid=np.ones(3)), "uid has 3 rows, expected 2"),
    ],
)
def test_bad_files_are_told(tmp_path, write, message):
    path = tmp_path / "latents.npz"
    write(path)
    with pytest.raises(ZooError, match=message) as told:
        Latents.load(path)
    assert str(told.value).startswith(str(path)) and "\n" not in str(told.value)
