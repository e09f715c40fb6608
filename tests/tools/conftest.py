"""A small run of vaegan3d, not trained, on 60 embedded particles: what the tools after training need."""

import pytest


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """Folder of 60 packed particles of 32 pixels, 20 of each embedded class, true maps beside the STAR."""
    from zoo.simulate.embedded import embedded_dataset

    return embedded_dataset(box=32, count_per_class=20, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small_run(packed, tmp_path_factory):
    """A run folder with config.json and model.keras; the weights are as drawn."""
    import keras

    import zoo
    from zoo.data.info import DatasetInfo
    from zoo.runs.data_source import describe
    from zoo.runs.run_folder import RunFolder

    keras.utils.set_random_seed(1)
    info = DatasetInfo.load(packed)
    model = zoo.create_model("vaegan3d", info, "tiny", siren_width=8, latent_dim=3)
    config = {"model": "vaegan3d", "data": describe(info, packed)}
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", config)
    model.save(run.model_file)
    return run.path


@pytest.fixture
def call(capsys):
    """Run a tool in this process: call(app, name, *arguments) → (exit code, stdout, stderr)."""
    from zoo_tools._run import run

    def run_tool(app, name, *arguments):
        try:
            run(app, name, [str(each) for each in arguments])
            code = 0
        except SystemExit as left:
            code = left.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_tool
