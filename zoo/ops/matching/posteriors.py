"""How probable each class and candidate pose is: equations 14 and 15 of Zhao et al. (FAML), in logarithms."""

from keras import ops

_LOG_ZERO = -1e30


def log_evidence(residuals, shifts, alpha, zeta):
    """log e(φ, k) ``(b, k, c)``: equation 15.

    residuals ``(b, k, c)``: Σ |R A − X|²/σ² over the observed frequencies; shifts ``(b, k, c, 3)`` and zeta
    in voxels; alpha ``(k,)``.
    """
    prior = ops.sum(shifts**2, axis=-1) / (2.0 * zeta**2)
    log_alpha = ops.where(alpha > 0.0, ops.log(ops.maximum(alpha, 1e-37)), _LOG_ZERO)
    return log_alpha[None, :, None] - 0.5 * residuals - prior


def posterior_weights(log_e, voronoi):
    """P(k, φ)·ν ``(b, k, c)``, summing to 1 over classes and candidates, and the log-likelihood ``(b,)``.

    Equation 14 times the Voronoi weights ``(b, k, c)`` that every sum over poses carries.
    """
    log_terms = ops.where(voronoi > 0.0, log_e + ops.log(ops.maximum(voronoi, 1e-37)), _LOG_ZERO)
    # The largest first: a logarithm of some thousands has no digits left for a sum of 1.
    largest = ops.max(log_terms, axis=(-2, -1), keepdims=True)
    terms = ops.exp(log_terms - largest)
    total = ops.sum(terms, axis=(-2, -1), keepdims=True)
    return terms / total, (largest + ops.log(total))[:, 0, 0]


def best_only(scores):
    """1 at the largest score ``(b, k, c)`` of each subtomogram, else 0: the single best alignment."""
    classes, candidates = scores.shape[-2:]
    best = ops.argmax(ops.reshape(scores, (-1, classes * candidates)), axis=-1)
    return ops.reshape(ops.one_hot(best, classes * candidates, dtype="float32"), (-1, classes, candidates))
