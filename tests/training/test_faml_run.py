"""faml through zoo-train: a run, resumed to the same bits, its files, and what is refused."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records import batches
from zoo.data.subtomograms import read_subtomograms
from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.serving.open_model import load_run_model
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms
from zoo.training.job import train
from zoo.training.settings import TrainSettings, new_config

pytestmark = pytest.mark.slow
FAST = {"classes": "2", "candidates": "2", "step_deg": "30", "max_radius": "5"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faml")
    simulate_subtomograms(
        embedded_classes(16), folder / "set", SubtomogramSettings(3, snr=0.5, quick=True, seed=4)
    )
    pack_subtomograms(
        folder / "set" / "subtomograms.star",
        folder / "packed",
        PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1),
        processes=1,
    )
    return folder / "packed"


def options(records, out, **changes):
    values = {"model": "faml", "data": records, "out": out, "epochs": 2, "batch_size": 4, "overrides": FAST}
    return TrainSettings(**{**values, "strategy": "one", **changes})


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    folder, code = train(options(records, tmp_path_factory.mktemp("run") / "faml"))
    assert code == 0
    return folder


def test_epochs_are_steps_and_metrics_have_a_row_for_each(run):
    # Nine subtomograms are three batches of four; epoch 0 starts.
    assert (run.config["steps_per_epoch"], run.config["steps"]) == (3, 9)
    with open(run.metrics, newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["epoch"] for row in found if row["step"] in ("3", "6", "9")] == ["0", "1", "2"]
    last = found[-1]
    assert float(last["alpha_1"]) + float(last["alpha_2"]) == pytest.approx(1, abs=1e-5)
    assert float(last["sigma"]) > 0 and float(last["log_likelihood"]) < 0


def test_results_are_maps_curves_and_poses(run, records):
    results = run.path / "results"
    info = DatasetInfo.load(records)
    for name in ("class_1", "class_2", "class_1_half1", "class_1_half2"):
        volume, voxel = read_volume(results / f"{name}.mrc")
        assert volume.shape == (16, 16, 16) and np.ptp(volume) > 0
        assert voxel == pytest.approx(info.voxel_size_angstrom, rel=1e-5)
    assert len((results / "fsc.csv").read_text().splitlines()) == 6
    assert (results / "fsc.png").stat().st_size > 1000
    with open(results / "measures.csv", newline="") as file:
        measures = {row["map"]: row for row in csv.DictReader(file)}
    assert all(float(row["snr"]) > 0 and float(row["snr_pairs"]) >= 1 for row in measures.values())
    assert measures and set(measures) <= {"class_1", "class_2"}
    assert "open class_2.mrc" in (results / "averages.cxc").read_text()
    table = read_subtomograms(results / "particles.star")
    np.testing.assert_array_equal(np.sort(table.uid), np.sort(info.load_table()["uid"]))
    frame = table.source.blocks[table.source.particle_block]
    assert set(frame["rlnClassNumber"]) <= {"1", "2"}
    assert sorted(set(table.random_subset)) == [1, 2]
    assert np.isfinite(table.euler_deg()).all()
    five = read_subtomograms(results / "particles_relion5.star")
    assert {"rlnTomoParticleName", "rlnCenteredCoordinateXAngst"} <= set(five.source.blocks["particles"])
    np.testing.assert_allclose(five.euler_deg(), table.euler_deg(), atol=1e-4)
    assert list(five.source.blocks["particles"]["rlnClassNumber"]) == list(frame["rlnClassNumber"])


def told_in_record_order(run, records):
    """Euler angles and classes (from 1) of results/particles.star."""
    told = read_subtomograms(run.path / "results" / "particles.star")
    uid = DatasetInfo.load(records).load_table()["uid"]
    rows = np.argsort(told.uid)[np.searchsorted(np.sort(told.uid), uid)]
    frame = told.source.blocks[told.source.particle_block]
    return told.euler_deg()[rows], np.asarray(frame["rlnClassNumber"], int)[rows]


def test_what_is_known_of_the_data_is_told(run, records):
    with open(run.path / "results" / "truth.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["number"], second["number"]) == ("1", "2")
    labels = DatasetInfo.load(records).load_table()["label"]
    classes = told_in_record_order(run, records)[1]
    for row in (first, second):
        here, there = classes == int(row["number"]), labels == int(row["label"])
        f1 = 2 * (here & there).sum() / (here.sum() + there.sum())
        assert float(row["f1"]) == pytest.approx(f1, abs=1e-4)
        assert row["true_map"] == f"class_{row['label']}.mrc"
        assert -1 <= float(row["correlation"]) <= 1 and float(row["fsc_half_angstrom"]) > 0


def test_model_is_saved_and_exported(run, records):
    import tensorflow as tf

    assert run.model_file.is_file()
    served = tf.saved_model.load(str(run.export))
    averages = served.signatures["averages"]()["averages"].numpy()
    np.testing.assert_allclose(averages[0], read_volume(run.path / "results" / "class_1.mrc")[0], atol=1e-5)
    info = DatasetInfo.load(records)
    batch = next(iter(batches.sequential_batches(info, 9)))
    found = served.signatures["align"](volume=tf.constant(batch["volume"]), wedge=tf.constant(batch["wedge"]))
    euler_deg, classes = told_in_record_order(run, records)
    np.testing.assert_array_equal(found["class"].numpy() + 1, classes)
    ours = Rotation.from_euler("ZYZ", found["euler_deg"].numpy(), degrees=True)
    theirs = Rotation.from_euler("ZYZ", euler_deg, degrees=True)
    assert np.rad2deg((ours * theirs.inv()).magnitude()).max() < 0.1
    np.testing.assert_allclose(found["posterior"].numpy().sum(1), 1, rtol=1e-4)


def test_resumed_in_an_epoch_it_ends_with_the_same_bits(run, records, tmp_path):
    out = tmp_path / "faml"
    first, _ = train(options(records, out, epochs=1, checkpoint_every=1))
    # The state in the middle of epoch 1: sums are half full.
    checkpoint.path_for(first.checkpoints, 6).unlink()
    again, _ = train(TrainSettings(resume=out, epochs=2, strategy="one"))
    states = [checkpoint.read(checkpoint.path_for(r.checkpoints, 9)) for r in (run, again)]
    assert checkpoint.digest(states[0]) == checkpoint.digest(states[1])


def test_independent_half_sets_are_resumed_to_the_same_bits_and_told(records, tmp_path, capsys):
    """Every figure says of what it is; poses are those in the average of a subtomogram's own half set."""
    chosen = {**FAST, "classes": "1", "half_sets": "independent", "common_epochs": "1"}
    runs = []
    for lengths in ((2,), (1, 2)):
        out = tmp_path / f"in{len(lengths)}"
        run, _ = train(options(records, out, epochs=lengths[0], checkpoint_every=1, overrides=chosen))
        if len(lengths) > 1:
            checkpoint.path_for(run.checkpoints, 6).unlink()
            run, _ = train(TrainSettings(resume=out, epochs=2, strategy="one"))
        runs.append(run)
    states = [checkpoint.read(checkpoint.path_for(run.checkpoints, 9)) for run in runs]
    assert checkpoint.digest(states[0]) == checkpoint.digest(states[1])
    run, kind = runs[0], "independent half sets beyond 80 Å, up to which they began with one average"
    said = [line for line in capsys.readouterr().out.splitlines() if "FSC 0.143" in line]
    assert said and f"({kind})" in said[0].replace("\n", " ")
    with open(run.path / "results" / "fsc.csv", newline="") as file:
        assert {row["fsc_between"] for row in csv.DictReader(file)} == {kind}
    with open(run.metrics, newline="") as file:
        flags = {row["epoch"]: row["fsc_of_independent_half_sets"] for row in csv.DictReader(file)}
    assert (flags["0"], flags["1"], flags["2"]) == ("0", "0", "1")
    names = [path.name for path in run.samples.glob("*fsc*.png")] + [
        path.name for path in run.samples.glob("*fsc*.csv")
    ]
    assert any("fsc_of_independent_half_sets" in name for name in names), names
    model = load_run_model(run.path)
    info = DatasetInfo.load(records)
    batch = next(iter(batches.sequential_batches(info, 9)))
    half = np.asarray(model.half_of(batch))
    told = read_subtomograms(run.path / "results" / "particles.star")
    rows = np.argsort(told.uid)[np.searchsorted(np.sort(told.uid), info.load_table()["uid"])]
    np.testing.assert_array_equal(told.random_subset[rows], half)
    given = {name: batch[name] for name in ("volume", "wedge")}
    own = Rotation.from_euler("ZYZ", np.asarray(model.align({**given, "half_set": half})["euler_deg"]), True)
    theirs = Rotation.from_euler("ZYZ", told.euler_deg()[rows], True)
    assert np.rad2deg((own * theirs.inv()).magnitude()).max() < 0.1


def test_results_of_a_local_search_stay_near_the_poses_of_the_file(records, tmp_path):
    chosen = {**FAST, "classes": "1", "start": "poses", "range_deg": "5"}
    run, _ = train(options(records, tmp_path / "local", epochs=1, overrides=chosen))
    euler_deg, _ = told_in_record_order(run, records)
    table = DatasetInfo.load(records).load_table()
    given = np.stack([table[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    ours, theirs = (Rotation.from_euler("ZYZ", each, True) for each in (euler_deg, given))
    assert np.rad2deg((ours * theirs.inv()).magnitude()).max() < 5.1


TWO_CPUS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from zoo_tools.train import main
sys.argv[0] = "zoo-train"
main()
"""


def test_two_replicas_equal_one(run, records, tmp_path):
    """The sums of an epoch do not depend on how many devices made them."""
    words = ["--model", "faml", "--data", records, "--epochs", 2, "--batch-size", 4]
    words += ["--out", tmp_path / "two"]
    words += ["--strategy", "mirrored", *(f"--set={name}={value}" for name, value in FAST.items())]
    done = subprocess.run(
        [sys.executable, "-c", TWO_CPUS, *map(str, words)], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "2 CPU devices (mirrored)" in done.stdout
    assert_same_state(run.checkpoints, tmp_path / "two" / "checkpoints")


def test_two_workers_share_the_expectation_and_write_once(run, records, tmp_path, run_workers):
    chief, elsewhere = tmp_path / "chief", tmp_path / "second"
    words = ["--model", "faml", "--data", records, "--epochs", 1, "--batch-size", 4]
    words += ["--strategy", "multiworker", *(f"--set={name}={value}" for name, value in FAST.items())]
    printed = run_workers(words, [("--out", chief), ("--out", elsewhere)])
    assert "worker 1 of 2" in printed[0][0] and printed[1][0] == ""
    assert not elsewhere.exists()
    run_workers(["--resume", chief, "--epochs", 2, "--strategy", "multiworker"], [(), ()])
    assert_same_state(run.checkpoints, chief / "checkpoints")
    told = [read_subtomograms(folder / "results" / "particles.star") for folder in (run.path, chief)]
    np.testing.assert_allclose(told[0].euler_deg(), told[1].euler_deg(), atol=0.01)


def test_compiled_by_xla_it_learns_the_same(run, records, tmp_path):
    compiled, _ = train(options(records, tmp_path / "xla", overrides={**FAST, "jit_compile": "on"}))
    assert_same_state(run.checkpoints, compiled.checkpoints)


def assert_same_state(first, second):
    """Equal to 1e-5 after two expectations, but for half maps after the second: they are not filtered."""
    for step, of_halves in ((6, 1e-5), (9, 1e-4)):
        one, two = (checkpoint.read(checkpoint.path_for(folder, step)) for folder in (first, second))
        assert one.step == two.step and len(one.arrays) == len(two.arrays)
        for (name, values), found in zip(one.arrays.items(), two.arrays.values(), strict=True):
            scale = max(1.0, float(np.abs(values).max()))
            tolerance = of_halves if "/half_" in name else 1e-5
            np.testing.assert_allclose(found, values, rtol=0, atol=tolerance * scale, err_msg=name)


def test_volumes_do_not_stay_in_memory(tmp_path, measured_python, monkeypatch):
    """800 more are 354 MB as float32, and as much again with their wedges."""
    # Large arrays go back to the system at once: what the allocator keeps would hide what the program keeps.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    code = """
        import resource, sys
        from pathlib import Path
        from zoo.simulate.classes import ClassMaps
        from zoo.simulate.embedded import embedded_classes
        from zoo.simulate.subtomogram_settings import SubtomogramSettings
        from zoo.simulate.subtomograms import simulate_subtomograms
        from zoo.training import job
        from zoo.training.settings import TrainSettings, new_config
        if __name__ == "__main__":
            folder, count = Path(sys.argv[1]), int(sys.argv[2])
            classes = embedded_classes(48)
            one = ClassMaps(classes.maps[[2]], classes.voxel_size_angstrom, (classes.names[2],))
            settings = SubtomogramSettings(count, snr=0.5, quick=True)
            simulate_subtomograms(one, folder / "set", settings, records=folder / "packed")
            options = {"candidates": "1", "step_deg": "40", "max_radius": "5", "jit_compile": "off"}
            options = {"strategy": "one", "epochs": 1, "batch_size": 20, "overrides": options}
            job.train(TrainSettings("faml", folder / "packed", out=folder / "run", **options))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = [
        int(measured_python(code, tmp_path / str(count), count).split()[-1]) / 1024 for count in (200, 1000)
    ]
    assert peaks[1] - peaks[0] < 300, peaks


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overrides": {"classes": "10"}}, "holds 9 subtomograms, too few for classes=10"),
        ({"steps": 5}, "trained by whole epochs; give --epochs"),
        ({"start_from": "RUN"}, "faml starts from maps; give --set references"),
        ({"start_from": "nowhere"}, "nowhere: there is no such folder"),
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"model": "vaegan3d", "overrides": {}, "epochs": None}, "vaegan3d is trained on 2D particle images"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(run, records, tmp_path, changes, words):
    changes = {name: run.path if value == "RUN" else value for name, value in changes.items()}
    with pytest.raises(ZooError, match=words):
        train(options(records, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_without_data_it_trains_on_the_embedded_ones(tmp_path, monkeypatch, capsys):
    """Two classes unless a person says otherwise; the run ends with what was found, and goes on."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    fast = {name: value for name, value in FAST.items() if name != "classes"} | {"box": "16"}
    run, code = train(options(None, tmp_path / "run", overrides=fast, epochs=1, batch_size=20))
    said = capsys.readouterr().out
    assert code == 0
    assert "60 subtomograms of 16 px" in said and "(embedded)" in said
    assert "setting: classes=2, as the embedded data suggest" in said
    assert run.config["hyperparameters"]["classes"] == 2 and run.config["suggested"] == {"classes": 2}
    for k in (1, 2):
        assert f"class {k}: label" in said and "F1 " in said
    with open(run.path / "results" / "truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    assert [row["number"] for row in truth] == ["1", "2"]
    assert all(0 <= float(row["f1"]) <= 1 and float(row["fsc_half_angstrom"]) > 40 for row in truth)
    again, code = train(TrainSettings(resume=run.path, epochs=2, strategy="one"))
    assert code == 0 and again.config["hyperparameters"]["classes"] == 2
    fast |= {"classes": "1"}
    config, _ = new_config(options(None, tmp_path / "one", overrides=fast))
    assert config["hyperparameters"]["classes"] == 1 and config["suggested"] == {}


def test_images_are_refused(toy_records, tmp_path):
    with pytest.raises(ZooError, match="2D particle images, but faml is trained on subtomograms"):
        train(options(toy_records, tmp_path / "out"))


def test_epochs_are_refused_for_models_of_steps(toy_records, toy, tmp_path):
    with pytest.raises(ZooError, match="toy is trained by steps"):
        train(options(toy_records, tmp_path / "out", model="toy", overrides={}))


def test_mask_and_references_must_fit(records, tmp_path):
    write_volume(tmp_path / "mask.mrc", np.ones((12, 12, 12), "float32"), 20.0)
    given = {**FAST, "mask": str(tmp_path / "mask.mrc")}
    with pytest.raises(ZooError, match=r"mask.mrc: mask of shape \(12, 12, 12\)"):
        train(options(records, tmp_path / "out", overrides=given))
    given = {**FAST, "references": str(tmp_path / "mask.mrc")}
    with pytest.raises(ZooError, match="1 files, expected one for each of 2 classes"):
        train(options(records, tmp_path / "out", overrides=given))
    write_volume(tmp_path / "negative.mrc", np.full((16, 16, 16), -1, "float32"), 20.0)
    given = {**FAST, "mask": str(tmp_path / "negative.mrc")}
    with pytest.raises(ZooError, match="expected 0 to 1"):
        train(options(records, tmp_path / "out", overrides=given))
    assert not (tmp_path / "out").exists()
