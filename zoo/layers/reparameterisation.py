"""The sampling step of a variational autoencoder."""

from keras import ops

from zoo.layers.registered import Float32Layer, registered

# exp of more would leave float32's range in a squared loss.
LARGEST_LOG_VARIANCE = 30.0


def gaussian_kl(mean, log_variance):
    """KL(N(μ, σ²) ‖ N(0, 1)) in nats ``(b,)`` of means and log-variances ``(b, d)``."""
    return 0.5 * ops.sum(ops.exp(log_variance) + ops.square(mean) - 1.0 - log_variance, axis=-1)


@registered
class GaussianReparameterisation(Float32Layer):
    """Mean and log-variance ``(b, d)``, ε ~ N(0, 1) ``(b, d)`` → z ``(b, d)`` and KL ``(b,)`` in nats.

    z = μ + exp(½ log σ²)·ε; KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (σ² + μ² − 1 − log σ²), summed over d (Kingma &
    Welling 2014, appendix B). The log-variance is held within ±30.
    """

    def call(self, mean, log_variance, noise):
        log_variance = ops.clip(log_variance, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        z = mean + ops.exp(0.5 * log_variance) * noise
        return z, gaussian_kl(mean, log_variance)

    def compute_output_shape(self, mean_shape, log_variance_shape, noise_shape):
        return mean_shape, mean_shape[:-1]
