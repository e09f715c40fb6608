"""RELION averages with the poses that faml writes: it must come to faml's own average."""

import subprocess

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records.numpy_subtomograms import sequential_arrays
from zoo.metrics.fsc import fsc
from zoo.models.faml.model import Faml
from zoo.serving.open_model import RunModel
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms
from zoo.training.results import write_results

pytestmark = [pytest.mark.relion, pytest.mark.slow]
BOX, COUNT, RADIUS = 24, 24, 8


def test_relion_reconstructs_our_average_from_our_poses(tmp_path):
    classes = embedded_classes(BOX)
    one = ClassMaps(classes.maps[[2]], classes.voxel_size_angstrom, (classes.names[2],))
    source = tmp_path / "set"
    simulate_subtomograms(one, source, SubtomogramSettings(COUNT, snr=0.5, seed=3))
    settings = PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1)
    pack_subtomograms(source / "subtomograms.star", tmp_path / "packed", settings, processes=1)
    info = DatasetInfo.load(tmp_path / "packed")
    model = Faml.from_data(info, "default", max_radius=RADIUS, candidates=2, step_deg=20.0)
    model.set_references(read_volume(source / "maps" / "class_0.mrc")[0][None])
    batch = {**next(sequential_arrays(info, COUNT)), "weight": np.ones(COUNT, "float32")}
    for step in (model.start_step, lambda b: model.e_step(b, model.prepare())):
        for name, value in step(batch).items():
            model.sums[name].assign(value)
        model.m_step()
    found = model.results(sequential_arrays(info, COUNT), RunModel(model).apply)
    write_results(found, info, source / "results")

    command = "relion_reconstruct --i results/particles.star --ctf --o back.mrc"
    command += f" --angpix {info.voxel_size_angstrom:g}"
    # Image names are relative to the packed STAR file, so RELION runs in its folder.
    subprocess.run(command.split(), cwd=source, check=True, capture_output=True, text=True)
    back, ours = read_volume(source / "back.mrc")[0], read_volume(source / "results" / "class_1.mrc")[0]
    truth = read_volume(source / "maps" / "class_0.mrc")[0]
    between, of_ours, of_relion = (
        fsc(*pair)[1:RADIUS] for pair in ((back, ours), (ours, truth), (back, truth))
    )
    assert between[:-1].min() > 0.98
    # In the last shell, half noise, the two interpolate differently: RELION is no nearer to the truth.
    assert between[-1] > max(of_ours[-1], of_relion[-1])
    assert (of_ours > of_relion - 0.01).all()
