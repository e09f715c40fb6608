"""What a training changes for its whole process, given back when it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Context after which Keras' dtype policy and TF_CONFIG are as they were: others use the process too."""
    policy, cluster = keras.config.dtype_policy(), os.environ.get("TF_CONFIG")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        if cluster is None:
            os.environ.pop("TF_CONFIG", None)
        else:
            os.environ["TF_CONFIG"] = cluster
