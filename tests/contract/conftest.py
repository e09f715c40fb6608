"""A small data set of each kind, and every registered model in its smallest form."""

from __future__ import annotations

import pytest

BOX = 16
PIXEL_ANGSTROM = 20.0


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Embedded set (`Entry.embedded_set`) → DatasetInfo of a small packed set like it, boxes of 16."""
    from zoo.data.info import DatasetInfo
    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.simulate.embedded import embedded_classes
    from zoo.simulate.embedded_complexes import embedded_complexes
    from zoo.simulate.particles import simulate_particles
    from zoo.simulate.settings import ParticleSettings
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.subtomograms import simulate_subtomograms

    folder = tmp_path_factory.mktemp("contract")
    classes = embedded_classes(BOX, PIXEL_ANGSTROM)
    simulate_particles(classes, folder / "images", ParticleSettings(8, seed=3))
    pack_particles(
        folder / "images" / "particles.star",
        folder / "particles",
        PackSettings(box=BOX, contrast=1),
        processes=1,
    )
    simulate_subtomograms(classes, folder / "volumes", SubtomogramSettings(3, snr=0.5, quick=True, seed=4))
    pack_subtomograms(
        folder / "volumes" / "subtomograms.star",
        folder / "subtomograms",
        PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1),
        processes=1,
    )
    complexes = embedded_complexes(BOX, PIXEL_ANGSTROM)
    pack_maps(
        complexes.maps[:5],
        complexes.names[:5],
        folder / "maps",
        PackSettings(box=BOX, dtype="float32", normalisation="none", contrast=1),
        voxel_size_angstrom=PIXEL_ANGSTROM,
    )
    label_voxels(folder / "subtomograms", folder / "labelled cubes")
    names = ("particles", "subtomograms", "maps", "labelled cubes")
    return {name: DatasetInfo.load(folder / name) for name in names}


def label_voxels(source, out):
    """The volumes of a data set again, with their bright voxels labelled: 1, and the brightest 2."""
    import numpy as np

    from zoo.data.info import DatasetInfo
    from zoo.data.packing.pack_arrays import pack_subtomogram_arrays
    from zoo.data.packing.shards import PackSettings
    from zoo.data.records.numpy_records import load_records

    info = DatasetInfo.load(source)
    volumes = load_records(info)["volume"][..., 0]
    labels = np.digitize(volumes, np.percentile(volumes, (80, 97)))
    pack_subtomogram_arrays(
        volumes,
        out,
        PackSettings(box=BOX, dtype="float32"),
        voxel_size_angstrom=info.voxel_size_angstrom,
        voxel_labels=labels,
        like=info,
    )


@pytest.fixture
def batch_of():
    """Function: DatasetInfo → its first training batch of four, NumPy arrays, with ``index``."""
    from zoo.data.records.batches import training_batches
    from zoo.data.records.numbered import numbered

    return lambda info, seed=0: next(numbered(iter(training_batches(info, 4, seed, 0)), info))


@pytest.fixture(scope="session")
def first_phases():
    """What `make` keeps: model, seed → the finished model of a first phase."""
    return {}


@pytest.fixture
def make(records, first_phases):
    """Function: entry, preset → a model for its data, in the smallest form, compiled; begun or not."""

    def make(entry, preset, seed=1, begun=True, **overrides):
        import zoo

        role = next(iter(entry.takes))
        info = records.get(entry.embedded_set(role), records[entry.takes[role]])
        values = {**entry.config.smallest, **overrides}
        model = zoo.create_model(entry.name, info, preset, seed, **values)
        model.compile()
        phase = entry.config.of({**entry.presets[preset], **values}).first_phase()
        if begun and phase is not None:
            if (phase.model, seed) not in first_phases:
                first_phases[phase.model, seed] = finished(phase, info, seed)
            model.start_from(first_phases[phase.model, seed])
        return model

    return make


def finished(phase, info, seed):
    """The model of a first phase, trained to its end."""
    import zoo
    from zoo.data.records.batches import training_batches
    from zoo.data.records.numbered import numbered
    from zoo.engines.choose import get_engine

    model = zoo.create_model(phase.model, info, phase.preset, seed, **phase.values)
    model.compile()
    size = phase.values["batch_size"]
    engine = get_engine(model, seed=seed, global_batch=size, examples=info.count)
    batches = training_batches(info, size, seed, 0, whole_epochs=True)
    for batch in numbered(iter(batches), info):
        if engine.is_finished or engine.step_index == phase.values.get("training_steps"):
            return model
        engine.step(batch)
    return model
