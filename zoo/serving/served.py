"""A SavedModel used like the model it was exported from, with NumPy arrays in and out."""

import json
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.models.capabilities import CAPABILITIES
from zoo.serving.checksums import check_files
from zoo.serving.places import METADATA, refuse_verbs


class ServedModel:
    """The signatures of an exported model as methods.

    A SavedModel is a program: its graph may read and write files. Open only those that you trust.

    ``latent_dim``, ``box`` and ``voxel_size_angstrom`` are those of the trained model; ``card`` is
    the text of its model card ("" without one). Arrays are cast to what a signature takes.
    """

    def __init__(self, folder, name: str = "", card: str = ""):
        import tensorflow as tf

        self.path = Path(folder)
        self.card = card
        if not (self.path / "saved_model.pb").is_file():
            raise ZooError(f"{folder}: has no saved_model.pb, expected a SavedModel written by zoo-export")
        try:
            self.metadata = json.loads((self.path / METADATA).read_text(encoding="utf-8"))
            self.latent_dim = int(self.metadata["latent_dim"])
            self.trained_on = dict(self.metadata.get("trained_on", {}))
            self.segments = dict(self.metadata.get("segments", {}))
            # Models exported before verbs were written down name them as signatures.
            known = [each.verb for each in CAPABILITIES]
            self.verbs = [verb for verb in known if verb in self.metadata["signatures"]]
            self.box = int(self.metadata["box"])
            self.voxel_size_angstrom = float(self.metadata["voxel_size_angstrom"])
            checksums = {str(each): int(crc) for each, crc in self.metadata.get("crc32", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ZooError(
                f"{self.path / METADATA}: not readable ({error}); export the model again with zoo-export"
            ) from error
        check_files(self.path, checksums)
        self.name = name or str(self.metadata.get("model", ""))
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except Exception as error:  # of TensorFlow, of its protocol buffers, of Python: each has its own
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ZooError(
                f"{self.path}: TensorFlow cannot load it ({first_line}); export it again"
            ) from error
        self.signatures = self._loaded.signatures

    def __repr__(self) -> str:
        return (
            f"<ServedModel {self.name}: {', '.join(sorted(set(self.signatures) - {'serving_default'}))}; "
            f"latent {self.latent_dim}, box {self.box}, {self.voxel_size_angstrom:g} Å>"
        )

    def call(self, signature: str, **arrays) -> dict[str, np.ndarray]:
        """Call a signature by name with arrays; the outputs by name.

        Raises ZooError for an unknown signature, a missing or unknown argument, or a wrong shape.
        """
        import tensorflow as tf

        if signature not in self.signatures:
            raise ZooError(f"{self.path}: has no signature {signature!r}, only {sorted(self.signatures)}")
        function = self.signatures[signature]
        specs = function.structured_input_signature[1]
        if set(arrays) != set(specs):
            raise ZooError(f"signature {signature} takes {sorted(specs)}, got {sorted(arrays)}")
        tensors = {}
        for name, spec in specs.items():
            tensor = tf.cast(tf.convert_to_tensor(arrays[name]), spec.dtype)
            if not spec.shape.is_compatible_with(tensor.shape):
                raise ZooError(
                    f"signature {signature}: {name} has shape {tuple(tensor.shape)}, "
                    f"expected {tuple(spec.shape)} (None is free)"
                )
            tensors[name] = tensor
        return {name: tensor.numpy() for name, tensor in function(**tensors).items()}

    def features(self, verb: str) -> list[str]:
        """The features of a batch that a verb reads; raises ZooError if the model cannot do it."""
        refuse_verbs(self.path, self.name, self.verbs, verb)
        return list(self.metadata["signatures"][verb])

    def apply(self, verb: str, batch) -> dict[str, np.ndarray]:
        """What the model makes of a batch (dict of arrays), by name."""
        return self.call(verb, **{name: batch[name] for name in self.features(verb)})

    def encode(self, images, ctf=None) -> dict[str, np.ndarray]:
        """Latents of images (b, y, x, 1): ``z_mean``, ``z_logvar`` (b, d); CTFs (b, 9), NaN where unknown."""
        arrays = {"image": images}
        if "ctf" in self.signatures["encode"].structured_input_signature[1]:
            arrays["ctf"] = np.full((len(images), 9), np.nan) if ctf is None else ctf
        return self.call("encode", **arrays)

    def density(self, z) -> np.ndarray:
        """Maps (b, n, n, n) in z, y, x of latents z (b, d)."""
        return self._only("density", z=z)

    def project(self, z, euler_deg, ctf) -> np.ndarray:
        """Clean images (b, y, x, 1) of latents z (b, d), RELION angles (b, 3) and CTFs (b, 9)."""
        return self._only("project", z=z, euler_deg=euler_deg, ctf=ctf)

    def generate(self, z, euler_deg, ctf, seed: int) -> np.ndarray:
        """Noisy images (b, y, x, 1) as `project`; the same for the same `seed`."""
        return self._only("generate", z=z, euler_deg=euler_deg, ctf=ctf, seed=seed)

    def _only(self, signature: str, **arrays) -> np.ndarray:
        outputs = self.call(signature, **arrays)
        if len(outputs) != 1:
            raise ZooError(f"signature {signature} gives {sorted(outputs)}, expected one output; use call()")
        return next(iter(outputs.values()))
