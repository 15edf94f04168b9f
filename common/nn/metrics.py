"""What is measured besides the loss.

Each metric takes tensors or NumPy arrays and returns a tensor of the default graph; `of_arrays` runs one on arrays.
"""

import numpy as np

from common.compat import tf
from common.graph.linalg import matmul


def of_arrays(metric, *arrays, **options):
    """Returns what a metric of this file gives for NumPy arrays, as NumPy: a number or an array.

    For example `of_arrays(hyperspherical_energy, kernel, power=0)`. Graphs and sessions that are open stay as they are.
    """
    with tf.Graph().as_default(), tf.device("/cpu:0"), tf.Session() as session:
        inputs = [tf.placeholder(tf.as_dtype(np.asarray(array).dtype), np.shape(array)) for array in arrays]
        return session.run(metric(*inputs, **options), dict(zip(inputs, arrays)))


def errors(logits, labels, k=1):
    """1.0 for each image whose label is not among the `k` largest logits, else 0.0: [batch], float32.

    Of equal logits the class of the lower number comes first: a network that gives all classes the same score is right
    by chance only, while `tf.math.in_top_k` would call it right always. Logits that are not finite are errors.
    """
    logits = tf.convert_to_tensor(logits)
    label = tf.cast(labels, tf.int32)[:, None]
    own = tf.gather(logits, label, batch_dims=1)
    before = (logits > own) | (tf.equal(logits, own) & (np.arange(int(logits.shape[-1]), dtype=np.int32) < label))
    rank = tf.reduce_sum(tf.cast(before, tf.float32), axis=-1)
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
    return 1.0 - tf.cast((rank < k) & finite, tf.float32)


def hyperspherical_energy(weights, power=1):
    """Mean over ordered pairs i != j of ||w^_i - w^_j||^(-power), w^ = w / ||w||; -log of the distance for power 0.

    Liu et al., "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018, equation 1, divided by the number of
    pairs. Computed in float64, since the distances come from differences 2 - 2 cos.

    Args:
      weights: [n, m], a column is a neuron; or a kernel of more axes, the last of which counts the neurons.
      power: s, one of 0, 1, 2.

    Returns a float64 scalar; 0 for a single neuron.
    """
    count = int(weights.shape[-1])
    columns = tf.reshape(tf.cast(weights, tf.float64), [-1, count])
    neurons = tf.math.l2_normalize(columns, axis=0, epsilon=1e-300)
    if count < 2:
        return tf.zeros([], tf.float64)
    square = tf.maximum(2.0 - 2.0 * matmul(neurons, neurons, transpose_a=True), 1e-24)
    energies = -0.5 * tf.log(square) if power == 0 else tf.pow(square, -0.5 * power)
    off_diagonal = tf.linalg.set_diag(energies, tf.zeros([count], tf.float64))
    return tf.reduce_sum(off_diagonal) / (count * (count - 1))


def orthogonality_error(rotation):
    """||Q Q^T - I||_F of a square matrix, a scalar of its dtype."""
    rotation = tf.convert_to_tensor(rotation)
    product = matmul(rotation, rotation, transpose_b=True)
    return tf.norm(product - tf.eye(int(rotation.shape[0]), dtype=rotation.dtype))
