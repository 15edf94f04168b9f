"""Losses and regularisers."""

import math

from common.compat import tf
from common.graph.linalg import identity, matmul
from common.graph.side_by_side import elementwise, joined, of_one_shape

FLOOR = 1e-4  # what OPT adds to a softmax before the logarithm


def cross_entropy(logits, labels):
    """Plain cross-entropy of each image: logits [batch, classes], labels [batch] -> [batch]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def smoothed_cross_entropy(logits, labels, smoothing=0.01):
    """Cross-entropy of each image as OPT trains on it: labels smoothed, -sum t log(softmax + FLOOR).

    t = (1 - smoothing) onehot + smoothing / classes. The loss of an image is at most -log(FLOOR).
    """
    classes = int(logits.shape[-1])
    share = smoothing / classes
    negative = tf.one_hot(labels, classes, -(1.0 - smoothing + share), -share, dtype=logits.dtype)

    @tf.custom_gradient
    def of_logits(logits):
        """With p = softmax and q = p t / (p + FLOOR), the derivative by the logits is p sum(q) - q."""
        shares = tf.nn.softmax(logits)
        raised = shares + FLOOR

        def gradient(upstream):
            product = shares * (negative / raised)
            return tf.expand_dims(upstream, -1) * (product - shares * tf.reduce_sum(product, -1, keepdims=True))

        return tf.reduce_sum(negative * tf.log(raised), axis=-1), gradient

    return of_logits(logits)


def sure_at_chance(classes):
    """Returns the mean of `smoothed_cross_entropy` of sure answers of which 1 - 1 / classes are wrong.

    -log(FLOOR) (1 - 1 / classes), for any smoothing. Wrong answers then have the gradient 0.
    """
    return -math.log(FLOOR) * (1.0 - 1.0 / classes)


def decay(variables, coefficient):
    """L2 term: coefficient/2 times the sum of squares of all `variables`; a scalar, 0 for none."""
    return coefficient * _half_squares(*map(tf.convert_to_tensor, variables)) if variables else 0.0


@tf.custom_gradient
def _half_squares(*tensors):
    """Half the sum of the squares of all numbers; a derived gradient would take an operation for each tensor."""

    def gradient(upstream):
        return elementwise(lambda tensor: upstream * tensor, tensors)

    terms = [tf.nn.l2_loss(tensor) for tensor in joined(tensors)]
    return total(*terms) if len(terms) > 1 else terms[0], gradient


@tf.custom_gradient
def total(*terms):
    """The sum of scalars, in their order; a derived gradient would take as many operations as there are terms.

    Not add_n: with more than two terms its order, and so the last bit, depends on which term is ready first.
    """
    return tf.reduce_sum(tf.stack(terms)), lambda upstream: [upstream] * len(terms)


def orthogonality(kernels, omega):
    """omega/2 sum ||Y^T Y - I||_F^2 over kernels whose neurons are unit vectors (Cho & Lee, 2017, section 3.4)."""
    matrices = [tf.reshape(kernel, [-1, kernel.shape[-1]]) for kernel in kernels]
    return omega * total(*[_half_squared_excess(*group) for group in of_one_shape(matrices)]) if matrices else 0.0


@tf.custom_gradient
def _half_squared_excess(*matrices):
    """sum ||E||_F^2 / 2, E = Y^T Y - I, over matrices of one shape.

    The gradient 2 Y E is one product, for E is symmetric; derived it would be two.
    """
    stacked = tf.stack(matrices)
    excess = matmul(stacked, stacked, transpose_a=True) - identity(int(stacked.shape[2]), stacked.dtype)
    return tf.nn.l2_loss(excess), lambda upstream: tf.unstack((2.0 * upstream) * matmul(stacked, excess))
