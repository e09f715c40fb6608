"""Which devices train, and how batches reach them: one, mirrored, or several workers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from zoo import slurm
from zoo.data.packing.worker_pool import available_cpus
from zoo.data.records import batches, numbered, split
from zoo.errors import ZooError
from zoo.training.settings import check_strategy


@dataclass
class Devices:
    """The devices of one process: ``strategy`` is None where one device does all the work."""

    description: str
    strategy: Any = None
    workers: int = 1
    rank: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    @property
    def replicas(self) -> int:
        """Devices that share one batch, over all processes."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def scope(self):
        """Context in which the model and its optimizers must be made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def agree(self, wish: int) -> int:
        """The largest ``wish`` of all workers: every one of them must call this at the same step."""
        if self.workers == 1:
            return wish
        import tensorflow as tf

        values = self.strategy.experimental_distribute_values_from_function(lambda _: tf.constant([wish]))
        # Each worker may have been told something else; a sum would mix the wishes up.
        gathered = self.strategy.gather(values, axis=0)
        return int(tf.reduce_max(gathered).numpy())


def pick_devices(choice: str = "auto") -> Devices:
    """Devices for ``choice`` (one of STRATEGIES); call it before anything else touches TensorFlow.

    ``auto`` takes several workers where TF_CONFIG or srun describes them, else all GPUs of this
    machine, else its one device. Raises ZooError for a choice that cannot be had here.
    """
    check_strategy(choice)
    if keras.backend.backend() != "tensorflow":
        if choice in ("mirrored", "multiworker"):
            raise ZooError(
                f"--strategy {choice} needs the TensorFlow backend, Keras uses {keras.backend.backend()}; "
                "leave it out, or unset KERAS_BACKEND"
            )
        return Devices(_describe_jax())
    return _pick_tensorflow(choice)


def _pick_tensorflow(choice: str) -> Devices:
    import tensorflow as tf

    _let_gpu_memory_grow(tf)
    workers = _worker_count()
    if choice == "multiworker" or (choice == "auto" and workers > 1):
        return _multiworker(tf)
    gpus = tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    if choice == "mirrored" or (choice == "auto" and len(gpus) > 1):
        devices = gpus or cpus
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        kind = "GPUs" if gpus else "CPU devices"
        return Devices(f"{len(devices)} {kind} (mirrored)", strategy)
    return Devices(_describe_tensorflow(tf))


def _worker_count() -> int:
    if os.environ.get("TF_CONFIG"):
        return len(_tf_config()["cluster"].get("worker", ())) + len(_tf_config()["cluster"].get("chief", ()))
    return slurm.tasks_in_step(os.environ)


def _tf_config() -> dict:
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        config["cluster"], config["task"]["type"], config["task"]["index"]  # noqa: B018
        return config
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ZooError(
            "TF_CONFIG is not a cluster description; expected JSON such as "
            '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
        ) from None


def _multiworker(tf) -> Devices:
    if not os.environ.get("TF_CONFIG"):
        if not slurm.in_slurm_step(os.environ):
            raise ZooError(
                "--strategy multiworker: no cluster is described; start the workers with srun, "
                "or set TF_CONFIG in each of them"
            )
        os.environ["TF_CONFIG"] = slurm.cluster_from_slurm(os.environ)
        _take_one_gpu(tf)
    task = _tf_config()["task"]
    chiefs = len(_tf_config()["cluster"].get("chief", ()))
    rank = int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    workers = _worker_count()
    return Devices(f"worker {rank + 1} of {workers}, {_describe_tensorflow(tf)}", strategy, workers, rank)


def _take_one_gpu(tf) -> None:
    """Tasks that share a node and see all its GPUs take one each."""
    tasks_here = max(slurm.expand_tasks_per_node(os.environ["SLURM_STEP_TASKS_PER_NODE"]))
    gpus = tf.config.list_physical_devices("GPU")
    if tasks_here > 1 and len(gpus) >= tasks_here:
        tf.config.set_visible_devices(gpus[slurm.local_task(os.environ)], "GPU")


def _let_gpu_memory_grow(tf) -> None:
    """Take GPU memory as it is needed: other programs of the same person share the card."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # TensorFlow has started already (in a notebook): its setting stays.
            return


def _describe_tensorflow(tf) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"GPU {name}"
    return f"CPU ({available_cpus()} cores)"


def _describe_jax() -> str:
    if keras.backend.backend() != "jax":
        return keras.backend.backend()
    import jax

    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    return f"CPU ({available_cpus()} cores, JAX)" if on_cpu else f"{device.device_kind} (JAX)"


def batches_for(
    devices: Devices,
    info,
    batch_size: int,
    seed: int,
    start_step: int,
    held_back: float | None = None,
    with_index: bool = False,
) -> Iterator[Any]:
    """Endless training batches from ``start_step`` on, shared out over the devices.

    ``batch_size`` is that of a whole step. Every replica sees consecutive rows of the batch that
    one device would see, so the number of devices does not change what is learned from. With ``held_back``,
    a share of the records, batches say which of them are kept for validation (`zoo.data.records.split`);
    ``with_index`` gives each its row in the table, and makes every epoch see every record exactly once.
    Raises ZooError where the batch cannot be split evenly.
    """
    if batch_size % devices.replicas:
        raise ZooError(
            f"--batch-size {batch_size} cannot be split over {devices.replicas} devices; "
            f"give a multiple of {devices.replicas}"
        )

    whole = {"whole_epochs": True} if with_index else {}

    def with_more(stream):
        stream = stream if held_back is None else split.marked(stream, seed, held_back)
        return numbered.numbered(stream, info) if with_index else stream

    if keras.backend.backend() != "tensorflow":
        return with_more(iter(batches.training_batches(info, batch_size, seed, start_step, **whole)))
    stream = batches.streams_of(info)

    if devices.strategy is None:
        return iter(with_more(stream(info, batch_size, seed, start_step, **whole)))

    def pipeline(context):
        workers = context.num_input_pipelines
        worker = (context.input_pipeline_id, workers)
        mine = with_more(stream(info, batch_size // workers, seed, start_step, worker=worker, **whole))
        return mine.rebatch(batch_size // devices.replicas, drop_remainder=True)

    return iter(devices.strategy.distribute_datasets_from_function(pipeline))
