"""A small data set of each kind, and every registered model in its smallest form."""

from __future__ import annotations

import pytest

BOX = 16
PIXEL_ANGSTROM = 20.0


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Kind → DatasetInfo of a small packed set, boxes of 16."""
    from zoo.data.info import DatasetInfo
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.simulate.embedded import embedded_classes
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
    return {kind: DatasetInfo.load(folder / kind) for kind in ("particles", "subtomograms")}


@pytest.fixture
def batch_of():
    """Function: DatasetInfo → its first training batch of four, NumPy arrays, with ``index``."""
    from zoo.data.records.batches import training_batches
    from zoo.data.records.numbered import numbered

    return lambda info, seed=0: next(numbered(iter(training_batches(info, 4, seed, 0)), info))


@pytest.fixture
def make(records):
    """Function: entry, preset → a model for its kind of data, in the smallest form, compiled."""

    def make(entry, preset, seed=1, **overrides):
        import zoo

        info = records[next(iter(entry.takes.values()))]
        model = zoo.create_model(entry.name, info, preset, seed, **{**entry.config.smallest, **overrides})
        model.compile()
        return model

    return make
