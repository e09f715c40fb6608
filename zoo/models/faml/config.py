"""What a person may set of ``faml`` and ``fa``, and its presets."""

from __future__ import annotations

from keras import ops

from zoo.errors import ZooError

_SHARED = {
    "box": 32,
    "voxel_size_angstrom": 10.0,
    "classes": 1,
    "batch_size": 10,
    "candidates": 8,
    "mode": "phase",
    "max_radius": 0,  # Fourier voxels; 0: a third of the box
    "max_shift_voxels": 0.0,  # 0: an eighth of the box
    "step_deg": 13.0,
    "symmetry": "C1",
    "mask": "",
    "references": "",
    "similarity": 0.0,  # classes are held together by as much at first; 0: not at all
    "similarity_epochs": 5,  # and no longer than that
    # Beyond the paper: so long a class that lost its subtomograms starts again from half of the largest.
    "refill_epochs": 12,
    # Beyond the paper: poses that see what few others see are preferred at first.
    "coverage": 0.5,
    "coverage_epochs": 12,
    # Beyond the paper: without them averages of few subtomograms at SNR 0.01 drown in their own noise.
    "regularise": "fsc",
    "noise": "shells",
    "jit_compile": "auto",  # XLA for the expectation: from 500 subtomograms on
}
PRESETS = {
    "default": dict(_SHARED),
    "paper": {
        **_SHARED,
        "mode": "magnitude",
        "candidates": 50,
        "coverage": 0.0,
        "refill_epochs": 0,
        "regularise": "none",
        "noise": "white",
    },
}
CHOICES = {
    "mode": ("phase", "magnitude"),
    "regularise": ("none", "fsc"),
    "noise": ("white", "shells"),
    "jit_compile": ("auto", "on", "off"),
}


def checked(config: dict) -> dict:
    """The configuration with its zeros resolved; raises ZooError for values that cannot work."""
    config = dict(config)
    for name, choices in CHOICES.items():
        if config[name] not in choices:
            raise ZooError(f"{name}={config[name]}: expected one of {', '.join(choices)}")
    for name in ("classes", "batch_size"):
        if config[name] < 1:
            raise ZooError(f"{name}={config[name]}: expected 1 or more")
    for name in ("similarity", "similarity_epochs", "coverage", "coverage_epochs", "refill_epochs"):
        if config[name] < 0:
            raise ZooError(f"{name}={config[name]}: expected 0 or more")
    if not 1 <= config["candidates"] <= 50:
        raise ZooError(f"candidates={config['candidates']}: expected 1 to 50")
    box = config["box"]
    if box < 12 or box % 2:
        raise ZooError(f"box {box}: expected an even box of at least 12 voxels; pack again with --box")
    largest = box // 2 - 1
    config["max_radius"] = config["max_radius"] or max(box // 3, 4)
    if not 4 <= config["max_radius"] <= largest:
        raise ZooError(f"max_radius={config['max_radius']}: expected 4 to {largest} for a box of {box}")
    config["max_shift_voxels"] = config["max_shift_voxels"] or box / 8
    if not 0 < config["max_shift_voxels"] <= box / 2:
        raise ZooError(f"max_shift_voxels={config['max_shift_voxels']}: expected 0 to {box // 2}")
    fold_of(config["symmetry"])
    return config


def is_lost(share: float, classes: int) -> bool:
    """Whether a class with this ``share`` of the subtomograms has lost nearly all of its own."""
    return share < 0.1 / classes


def fading(epoch, epochs):
    """What ``epoch`` (int or tensor) leaves of a help for the first ``epochs``: 1 in epoch 1, then less."""
    epoch = ops.convert_to_tensor(epoch, "float32")
    return ops.clip(1.0 - (epoch - 1.0) / max(epochs, 1), 0.0, 1.0)


def fold_of(symmetry: str) -> int:
    """``C7`` → 7; raises ZooError for anything but a cyclic group."""
    text = str(symmetry).strip().upper()
    if not (text.startswith("C") and text[1:].isdigit() and int(text[1:]) >= 1):
        raise ZooError(f"symmetry={symmetry}: expected C1, C2, ... (turns about z)")
    return int(text[1:])


def check_data(info, config: dict) -> None:
    """Raise ZooError where records are not subtomograms, or fewer than the classes."""
    if info.kind != "subtomograms":
        raise ZooError(
            f"{info.path}: holds {info.kind}, expected subtomograms (volumes); take another data set or model"
        )
    if config["classes"] > info.count:
        raise ZooError(
            f"{info.path}: holds {info.count} subtomograms, too few for classes={config['classes']}; "
            f"set classes to {info.count} or less"
        )
