"""The maps in TensorFlow: ours, plain ones left to automatic differentiation, ones unrolled in Python, one product.

A plain or unrolled one is written as one would write it down who does not care for its cost: Q is formed, then
multiplied with the weights.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable

import numpy as np

from common.cli import devices
from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from opt_cp.cayley import cayley
from opt_gs.gram_schmidt import gram_schmidt
from opt_hr.householder import householder
from opt_ls.lowdin import lowdin

PRODUCT = "product"
UNROLLED_UP_TO = 144  # from here on an unrolled graph takes minutes to build


@dataclasses.dataclass(frozen=True)
class Competitor:
    """A map to be measured.

    Attributes:
      group: "ours", "plain", "unrolled" or "yardstick".
      reference: the function of `reference.py` that computes the same Q, or None.
      rotate: `rotate(generator [n, n], weights [n, m]) -> [n, m]`.
      largest: the largest n that it is measured for.
    """

    group: str
    reference: str | None
    rotate: Callable
    largest: float = float("inf")


def competitors():
    """Returns {name: Competitor}; of our maps one for the choice that they make themselves, one for every method."""
    known = {PRODUCT: Competitor("yardstick", None, tf.matmul)}
    for rotate in (cayley, gram_schmidt, householder, lowdin):
        name = rotate.__name__
        known[name] = Competitor("ours", name, rotate)
        for method in methods(rotate):
            known[f"{name}:{method}"] = Competitor("ours", name, _by(rotate, method))
    return known | {
        "tf.linalg.inv": Competitor("plain", "cayley", _inverse),
        "tf.linalg.qr": Competitor("plain", "gram_schmidt", _qr),
        "tf.linalg.svd": Competitor("plain", "lowdin", _svd),
        "unrolled.gram_schmidt": Competitor("unrolled", "gram_schmidt", _vector_by_vector, UNROLLED_UP_TO),
        "unrolled.householder": Competitor("unrolled", "householder", _reflection_by_reflection, UNROLLED_UP_TO),
    }


def methods(rotate):
    """Returns the methods that a map can be forced to take, as its own message about an unknown one lists them."""
    if "method" not in inspect.signature(rotate).parameters:
        return ()
    with tf.Graph().as_default():
        try:
            rotate(tf.eye(2), tf.eye(2), method="?")
        except ValueError as error:
            names = re.findall(r"\w+", str(error).split("expected")[-1])
            return tuple(name for name in names if name not in ("one", "of", "or", "and", "auto"))
    return ()


def _by(rotate, method):
    return lambda generator, weights: rotate(generator, weights, method=method)


def _inverse(generator, weights):
    upper = tf.linalg.band_part(generator, 0, -1)
    skew, identity = upper - tf.transpose(upper), tf.eye(int(generator.shape[0]), dtype=generator.dtype)
    return tf.matmul(tf.matmul(identity + skew, tf.linalg.inv(identity - skew)), weights)


def _qr(generator, weights):
    rotation, triangle = tf.linalg.qr(tf.transpose(generator))
    return tf.matmul(rotation * tf.sign(tf.linalg.diag_part(triangle)), weights, transpose_a=True)


def _svd(generator, weights):
    _, left, right = tf.linalg.svd(generator)
    return tf.matmul(tf.matmul(left, right, transpose_b=True), weights)


def _vector_by_vector(generator, weights):
    """Gram-Schmidt, one row after the other against all finished ones."""
    rows = []
    for row in tf.unstack(generator):
        if rows:
            finished = tf.stack(rows)
            row -= tf.linalg.matvec(finished, tf.linalg.matvec(finished, row), transpose_a=True)
        rows.append(row / tf.norm(row))
    return tf.matmul(tf.stack(rows), weights)


def _reflection_by_reflection(generator, weights):
    """Householder's reflections, each applied to what is left and to Q."""
    size = int(generator.shape[0])
    left, rotation = generator, tf.eye(size, dtype=generator.dtype)
    for index in range(size - 1):
        column = left[index:, index]
        vector = column - tf.norm(column) * tf.one_hot(0, size - index, dtype=generator.dtype)
        vector = tf.pad(vector / tf.norm(vector), [[index, 0]])[:, None]
        left -= 2 * tf.matmul(vector, tf.matmul(vector, left, transpose_a=True))
        rotation -= 2 * tf.matmul(tf.matmul(rotation, vector), vector, transpose_b=True)
    return tf.matmul(rotation, weights)


class Case:
    """A map in a graph and a session of its own: float32 P [n, n], W [n, m] and G [n, m] on the device.

    Attributes:
      forward, both: functions without arguments that compute Q W, or that and the gradients of P and W. Results are
        assigned to variables: what nobody keeps TensorFlow would not compute.
      nodes: graph nodes of map and gradient, those inside functions included.
    """

    def __init__(self, name, inputs, device="cpu"):
        rotate = competitors()[name].rotate
        with tf.Graph().as_default() as graph:
            self._session = devices.choose(device).session()
            given = [_variable(value.shape) for value in inputs]
            self._weights = given[1]
            read = [variable.read_value() for variable in given]
            before = _count(graph)
            values = [rotate(*read[:2])]
            if name != PRODUCT:
                values += tf.gradients(values[0], read[:2], read[2:])
            self.nodes = _count(graph) - before
            results = [_variable(value.shape) for value in values]
            writes = [result.assign(value, read_value=False) for result, value in zip(results, values)]
            self._results = results
            self._placeholder = tf.placeholder(tf.float32)
            self._fills = [variable.assign(tf.ensure_shape(self._placeholder, variable.shape)) for variable in given]
            self._session.run(tf.variables_initializer([*given, *results]))
            for fill, value in zip(self._fills, inputs):
                self._session.run(fill.op, {self._placeholder: value})
            self.forward = self._session.make_callable(writes[0])
            self.both = self._session.make_callable(tf.group(*writes))

    def gradient(self):
        """Returns the gradient of P."""
        self.both()
        return self._session.run(self._results[1])

    def rotation(self):
        """Returns Q, the map of the identity, where W is square; W is the identity from then on."""
        identity = np.eye(int(self._weights.shape[0]), dtype=np.float32)
        self._session.run(self._fills[1].op, {self._placeholder: identity})
        self.forward()
        return self._session.run(self._results[0])

    def gpu_memory(self):
        """Runs `both` and returns by how many MiB the GPU's memory in use grew at the highest."""
        tf.config.experimental.reset_memory_stats("GPU:0")
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        self.both()
        return (tf.config.experimental.get_memory_info("GPU:0")["peak"] - before) / 2.0**20

    def close(self):
        """Frees the variables."""
        self._session.close()


def _variable(shape):
    name = f"matrix_{len(tf.local_variables())}"
    return variables.create(name, shape, Role.DATA, _unwritten)


def _unwritten(shape, dtype, seed):
    return tf.raw_ops.Empty(shape=shape, dtype=dtype)


def _count(graph):
    definition = graph.as_graph_def()
    return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)
