"""What a model can do, as classes to inherit from: commands, server and reports ask ``isinstance``.

A capability has one method, named by its ``verb``. What reads records takes a batch (a dict of arrays by
feature name) and returns named arrays with one row for each record. ``model.endpoints()[verb]`` says which
features the method reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Capability:
    """Base of all capabilities; ``verb`` names the method, the endpoint and the command."""

    verb: ClassVar[str]


class Encodes(Capability):
    """Records → latent coordinates."""

    verb = "encode"
    latent_dim: int = 0

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``z_mean`` and ``z_logvar``, each (b, d)."""
        raise TypeError(f"{type(self).__name__} has no encode")


class EncodesByLikelihood(Encodes):
    """Records → latent coordinates in two ways: by a network in one pass, and by likelihood.

    The second compares each record with explicit maps: on the host, NumPy arrays in and out, so that no
    exported model has it.
    """

    @property
    def likelihood_features(self) -> tuple[str, ...]:
        """Features of the records that the likelihood reads."""
        return ("image", "ctf", "pixel_size_angstrom")

    @property
    def has_likelihood(self) -> bool:
        """Whether there are maps to compare with."""
        return True

    def encode_by_likelihood(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``z_mean`` and ``z_logvar`` (b, d), with what `Aligns.align` says of the records."""
        raise TypeError(f"{type(self).__name__} has no encode_by_likelihood")


class MakesMaps(Capability):
    """Latent coordinates → density maps."""

    verb = "density"
    latent_dim: int = 0
    compares_at_end: bool = False  # its results hold the maps that are compared with the truth, where known

    def density(self, z: Any) -> Any:
        """Latents (b, d) → maps (b, n, n, n) in z, y, x."""
        raise TypeError(f"{type(self).__name__} has no density")


class Projects(Capability):
    """Latent coordinates and poses → noise-free images."""

    verb = "project"

    def project(self, z: Any, euler_deg: Any, ctf: Any = None) -> Any:
        """Latents (b, d), RELION angles (b, 3), CTFs (b, 9) → images (b, n, n, 1)."""
        raise TypeError(f"{type(self).__name__} has no project")


class Aligns(Capability):
    """Records → poses and classes against what the model has learned."""

    verb = "align"

    def align(self, batch: Mapping[str, Any], prepared: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """``euler_deg`` (b, 3) and ``origin_angstrom`` (b, 2 or 3) as RELION's, ``class`` (b,) from 0,
        ``posterior`` (b, k), ``score`` (b,)."""
        raise TypeError(f"{type(self).__name__} has no align")


class Classifies(Capability):
    """Records → the probability of each class."""

    verb = "classify"

    def classify(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``probability`` (b, k)."""
        raise TypeError(f"{type(self).__name__} has no classify")


class Segments(Capability):
    """Volumes → the probability of each class in every voxel.

    ``class_names`` are those of the classes, the background first. Volumes have a ``multiple`` of voxels
    along each axis; a voxel sees others up to ``reach_voxels`` beyond the block of so many that it lies in.
    """

    verb = "segment"
    class_names: tuple[str, ...]
    reach_voxels: int
    multiple: int = 1

    def segments(self) -> dict[str, Any]:
        """What is known of the classes and of how far a voxel sees, by the names of the attributes."""
        return {
            "class_names": list(self.class_names),
            "reach_voxels": self.reach_voxels,
            "multiple": self.multiple,
        }

    def segment(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``probability`` (b, z, y, x, k)."""
        raise TypeError(f"{type(self).__name__} has no segment")


class Generates(Capability):
    """Noise → samples like the training data."""

    verb = "generate"
    latent_dim: int = 0  # where it draws from something else than latents

    def generate(self, *arguments: Any) -> Any:
        """Samples; the endpoint says of what."""
        raise TypeError(f"{type(self).__name__} has no generate")


class Translates(Capability):
    """Records of one kind → records of another, such as maps → subtomograms."""

    verb = "translate"

    def translate(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The translated feature by its name."""
        raise TypeError(f"{type(self).__name__} has no translate")


class Scores(Capability):
    """Records → one score each."""

    verb = "score"

    def score(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``score`` (b,)."""
        raise TypeError(f"{type(self).__name__} has no score")


class Compares(Capability):
    """Records → features in which what is alike lies near (L2)."""

    verb = "features"

    def features(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``features`` (b, k)."""
        raise TypeError(f"{type(self).__name__} has no features")


CAPABILITIES: tuple[type[Capability], ...] = (
    Encodes,
    MakesMaps,
    Projects,
    Aligns,
    Classifies,
    Segments,
    Generates,
    Translates,
    Scores,
    Compares,
)


def verbs_of(model: Any) -> list[str]:
    """The verbs of all capabilities that ``model``, an object or a class, has."""
    cls = model if isinstance(model, type) else type(model)
    return [capability.verb for capability in CAPABILITIES if issubclass(cls, capability)]


def latent_dim_of(model: Any) -> int:
    """Coordinates of the latent space of a model that reads or makes them; 0 for any other."""
    return int(model.latent_dim) if isinstance(model, Encodes | MakesMaps | Generates) else 0
