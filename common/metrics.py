"""What is measured besides the loss."""

from common.compat import tf


def errors(logits, labels, k=1):
    """1.0 for each image whose label is not among the `k` largest logits, else 0.0: [batch], float32.

    With fewer than `k` classes every label is among them. Logits that are not finite are errors.
    """
    k = min(k, int(logits.shape[-1]))
    return 1.0 - tf.cast(tf.math.in_top_k(predictions=tf.cast(logits, tf.float32), targets=labels, k=k), tf.float32)


def hyperspherical_energy(weights, power=1):
    """Mean over ordered pairs i != j of ||w^_i - w^_j||^(-power), w^ = w / ||w||; -log of the distance for power 0.

    Liu et al., "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018, equation 1, divided by the number of
    pairs. Computed in float64, since the distances come from differences 2 - 2 cos.

    Args:
      weights: [n, m], a column is a neuron.
      power: s, one of 0, 1, 2.

    Returns a float64 scalar; 0 for a single neuron.
    """
    neurons = tf.math.l2_normalize(tf.cast(weights, tf.float64), axis=0, epsilon=1e-300)
    count = int(weights.shape[1])
    if count < 2:
        return tf.zeros([], tf.float64)
    square = tf.maximum(2.0 - 2.0 * tf.matmul(neurons, neurons, transpose_a=True), 1e-24)
    energies = -0.5 * tf.log(square) if power == 0 else tf.pow(square, -0.5 * power)
    off_diagonal = tf.linalg.set_diag(energies, tf.zeros([count], tf.float64))
    return tf.reduce_sum(off_diagonal) / (count * (count - 1))


def orthogonality_error(rotation):
    """||Q Q^T - I||_F of a square matrix, a scalar of its dtype."""
    product = tf.matmul(rotation, rotation, transpose_b=True)
    return tf.norm(product - tf.eye(int(rotation.shape[0]), dtype=rotation.dtype))
