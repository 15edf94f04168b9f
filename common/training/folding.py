"""The network as it is used after training: ordinary layers without maps and statistics.

Q @ W0 is an ordinary kernel, and batch normalization with stored statistics is an affine map of each channel,

    gamma (x - mean) / sqrt(variance + epsilon) + beta = scale x + shift,
    scale = gamma / sqrt(variance + epsilon),  shift = beta - scale mean.

If x is what a conv or dense layer computes and nothing else takes x, then scale (column j of W) = column j of
(scale W): the scale goes into the layer's weight and the shift is its bias. A pre-activation network also normalizes
sums, of which scale and shift remain. The products are taken in float64 and rounded once, to float32.

The network's function is called once more, with these numbers: there is no second definition of it. They are constants
of the graph, not variables: the file is complete without a restoring step that could be left out, nothing in it can be
changed by running it, and TensorFlow may arrange the weights for the device once. The price is the 2 GB that a graph
may have: 500 million weights, fourteen times WRN-28-10.
"""

import dataclasses

import numpy as np

from common.compat import tf
from common.data import batches
from common.graph import variables
from common.graph.variables import Role
from common.nn import layers
from common.nn.layers import Mode

OUTPUTS = {
    "scores": "float32 [batch, classes]: the network's last layer (logits)",
    "probabilities": "float32 [batch, classes]: softmax of the scores",
    "class": "int64 [batch]: the number of the largest score, of equal ones the first",
}
_LARGEST_BYTES = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The numbers of a network without maps and statistics.

    Attributes:
      weights: {scope of a conv or dense layer: its kernel or matrix}.
      biases: {name of the variable: value}.
      normalizations: {scope: (scale or None, shift)}, as `Mode.folded`.
    """

    weights: dict
    biases: dict
    normalizations: dict

    def check(self):
        """Raises ValueError if a number is not finite or if there are too many."""
        arrays = {**self.weights, **self.biases}
        for scope, (scale, shift) in self.normalizations.items():
            arrays[scope] = shift if scale is None else np.stack([scale, shift])
        count = sum(array.size for array in arrays.values())
        if 4 * count > _LARGEST_BYTES:
            raise ValueError(f"the network has {count} weights; a graph may hold {_LARGEST_BYTES // 4}")
        for scope, array in arrays.items():
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{scope} has numbers that are not finite; there is nothing to export")


def fold(session, kernels, epsilon):
    """Returns the `Parameters` of the evaluation pass in the default graph, with {scope: `Kernel`}."""
    products, normalizations = layers.products(), layers.normalizations()
    biases = variables.with_role(Role.BIAS)
    tensors = [(layer.gamma, layer.beta, layer.mean, layer.variance) for layer in normalizations]
    weights, biases, statistics = session.run(
        [
            {scope: kernel.tensor for scope, kernel in kernels.items()},
            {bias.op.name: bias for bias in biases},
            tensors,
        ]
    )
    folded = {}
    for layer, values in zip(normalizations, statistics):
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        scale = gamma / np.sqrt(variance + epsilon)
        shift = beta - scale * mean
        before = next((product for product in products if product.outputs is layer.inputs), None)
        if before is not None and len(layer.inputs.consumers()) == 1:
            weights[before.scope] = weights[before.scope] * scale
            scale = None
        folded[layer.scope] = (scale, shift)
    return Parameters(weights, biases, folded)


def build(problem, parameters):
    """Returns the graph that computes OUTPUTS from uint8 `images` [batch, height, width, channels], any batch size.

    Images of another shape are an error when the graph runs. The placeholder has no shape: callers are not held to it,
    and TensorFlow would take the check for a constant.
    """

    def constant(getter, name, **options):
        """Stands in for get_variable: only biases are variables that a network makes here."""
        return tf.constant(parameters.biases[name], tf.float32)

    mode = Mode(False, problem.batch_norm, folded=parameters.normalizations)
    with tf.Graph().as_default() as graph:
        shape = problem.dataset.train_images.shape[1:]
        images = tf.placeholder(tf.uint8, name="images")
        kernels = {scope: tf.constant(weight, tf.float32) for scope, weight in parameters.weights.items()}
        with tf.variable_scope("", custom_getter=constant):
            logits = problem.logits(batches.inputs_of(_checked(images, shape), problem.pipeline), kernels, mode)
        logits = tf.ensure_shape(logits[: tf.shape(images)[0]], [None, problem.dataset.classes])
        tf.identity(logits, "scores")
        tf.nn.softmax(logits, name="probabilities")
        tf.argmax(logits, axis=-1, name="class")
        definition = graph.as_graph_def()
    with tf.Graph().as_default() as clean:  # without collections, which name layers of this program
        tf.import_graph_def(definition, name="")
    return clean


def _checked(images, shape):
    """Returns images, once they are seen to be [batch, *shape]; one black image in place of none.

    TensorFlow's fused convolutions on CPUs mistake the shapes of empty batches.
    """
    expected = f"images: expected [batch, {', '.join(map(str, shape))}], uint8; their shape is"
    # A shape of another length cannot be compared number by number, so the first four are, filled up.
    batch, *sides = tf.unstack(tf.pad(tf.shape(images), [[0, 4]])[:4], 4)
    right = tf.equal(tf.rank(images), 4) & tf.reduce_all(tf.equal(sides, shape))
    with tf.control_dependencies([tf.Assert(right, [expected, tf.shape(images)], summarize=5)]):
        images = tf.reshape(images, [-1, *shape])
    return tf.pad(images, [[0, tf.cast(tf.equal(batch, 0), tf.int32)], [0, 0], [0, 0], [0, 0]])
