"""Features of how near an example is to the others of its batch."""

import keras
from keras import ops

from zoo.layers.registered import Float32Layer, registered


@registered
class MinibatchDiscrimination(Float32Layer):
    """Features ``(b, f)`` → ``(b, f + kernels)``: a critic sees whether the examples of a batch are alike.

    With a trained tensor T ``(f, kernels, kernel_dim)``, M_i = x_i·T, and the new features are
    o_k(x_i) = Σ_j exp(−‖M_ik − M_jk‖₁) over the batch, j = i included (Salimans et al. 2016, "Improved
    techniques for training GANs", section 3.2). ``group``: the sum is over so many consecutive examples
    instead of all, so that several devices give what one gives; b must be a multiple of it.
    """

    def __init__(self, kernels, kernel_dim, group=None, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        if kernels < 1 or kernel_dim < 1 or (group is not None and group < 1):
            raise ValueError(
                f"kernels, kernel_dim and group are 1 or more, got {kernels}, {kernel_dim} and {group}"
            )
        self.kernels, self.kernel_dim, self.group = kernels, kernel_dim, group
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.kernels * self.kernel_dim),
            initializer=self.kernel_initializer,
        )

    def call(self, features):
        features = ops.cast(features, "float32")
        count = self.group or ops.shape(features)[0]
        m = ops.reshape(ops.matmul(features, self.kernel), (-1, count, self.kernels, self.kernel_dim))
        distance = ops.sum(ops.abs(m[:, :, None] - m[:, None]), axis=-1)
        near = ops.reshape(ops.sum(ops.exp(-distance), axis=2), (-1, self.kernels))
        return ops.concatenate([features, near], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] + self.kernels)

    def get_config(self):
        config = {"kernels": self.kernels, "kernel_dim": self.kernel_dim, "group": self.group}
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **config, "kernel_initializer": initializer}
