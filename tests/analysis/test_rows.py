"""A model is applied to records of its own box; another pixel size or normalisation is told."""

from types import SimpleNamespace

import pytest

from zoo.analysis.rows import fit_notes, pixel_size_note, require_fit
from zoo.errors import ZooError


def data(box=32, voxel=10.0):
    return SimpleNamespace(
        path="set", kind="particles", box=box, voxel_size_angstrom=voxel, normalisation={}, trained_on={}
    )


@pytest.mark.parametrize("voxel", [10.0, 10.05, 9.95])
def test_the_same_box_and_pixel_size_fit(voxel):
    require_fit(data(), data(voxel=voxel))
    assert pixel_size_note(data(), data(voxel=voxel)) == ""


@pytest.mark.parametrize("voxel", [3.0, 9.5, 10.5, 20.0])
def test_another_pixel_size_is_told(voxel):
    note = pixel_size_note(data(), data(voxel=voxel))
    assert f"set: particles of {voxel:g} Å per pixel" in note and "trained on 10 Å" in note
    assert f"{10 / voxel:.3g} times as large in pixels" in note


def test_another_box_is_refused():
    with pytest.raises(ZooError, match="images of 64 pixels"):
        require_fit(data(), data(box=64))


def test_another_kind_is_refused_and_another_normalisation_told():
    model, info = data(), data()
    model.trained_on = {"kind": "particles", "normalisation": "none"}
    require_fit(model, info)
    assert fit_notes(model, info) == []
    info.normalisation = {"method": "none"}
    assert fit_notes(model, info) == []
    info.normalisation = {"method": "background"}
    require_fit(model, info)
    (note,) = fit_notes(model, info)
    assert "set: packed with --normalisation background" in note and "trained on data with none" in note
    info.kind = "subtomograms"
    with pytest.raises(ZooError, match="set: subtomograms, but the model was trained on particles"):
        require_fit(model, info)
