"""The maps in TensorFlow: those of the methods, plain ones left to automatic differentiation, and one product.

A plain map is written as somebody would write it who does not care for its cost: Q is formed, then multiplied with the
weights.
"""

from benchmarks import measure, reference
from common.cli import devices, recipe
from common.compat import tf
from common.graph import variables
from common.graph.variables import Role

PRODUCT = "product"


def competitors():
    """Returns {name: (group, function of `reference.py` that computes the same Q or None, map)}.

    Of our maps there is one as it chooses its algorithm, and one for each algorithm that it has. A map is
    `rotate(generator [n, n], weights [n, m]) -> [n, m]`.
    """
    found = {PRODUCT: ("yardstick", None, tf.matmul)}
    for method in recipe.methods().values():
        for algorithm, factory in method.factories.items():
            if getattr(factory, "orthogonal", False) and factory.role is Role.GENERATOR:
                rotate = getattr(factory.rotate, "func", factory.rotate).__name__
                name = rotate if algorithm == "auto" else f"{rotate}:{algorithm}"
                found.setdefault(name, ("ours", rotate if hasattr(reference, rotate) else None, factory.rotate))
    found["tf.linalg.inv"] = ("plain", "cayley", _inverse)
    found["tf.linalg.qr"] = ("plain", "gram_schmidt", _qr)
    found["tf.linalg.svd"] = ("plain", "lowdin", _svd)
    return found


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


class Case:
    """A map in a graph and a session of its own: float32 P [n, n], W [n, m] and G [n, m] on the device.

    Attributes:
      forward, both: functions without arguments that compute Q W, or that and the gradients of P and W. Results are
        assigned to variables: what nobody keeps TensorFlow would not compute.
      nodes: graph nodes of map and gradient, those inside functions included.
    """

    def __init__(self, name, inputs, device="cpu"):
        rotate = competitors()[name][2]
        with tf.Graph().as_default() as graph:
            self._session = devices.choose(device).session()
            given = [_variable(value.shape) for value in inputs]
            read = [variable.read_value() for variable in given]
            before = measure.nodes(graph)
            values = [rotate(*read[:2])]
            if name != PRODUCT:
                values += tf.gradients(values[0], read[:2], read[2:])
            self.nodes = measure.nodes(graph) - before
            self._results = [_variable(value.shape) for value in values]
            writes = [result.assign(value, read_value=False) for result, value in zip(self._results, values)]
            placeholder = tf.placeholder(tf.float32)
            fills = [variable.assign(tf.ensure_shape(placeholder, variable.shape)) for variable in given]
            self._session.run(tf.variables_initializer([*given, *self._results]))
            for fill, value in zip(fills, inputs):
                self._session.run(fill.op, {placeholder: value})
            self.forward = self._session.make_callable(writes[0])
            self._both = tf.group(*writes)
            self.both = self._session.make_callable(self._both)

    def results(self):
        """Returns Q W and the gradient of P."""
        self.both()
        return self._session.run(self._results[:2])

    def memory(self):
        """Returns the MiB of the tensors of `both` at its peak."""
        return measure.tensor_memory(measure.traced(self._session, self._both))

    def close(self):
        """Frees the variables."""
        self._session.close()


def _variable(shape):
    return variables.create(f"matrix_{len(tf.local_variables())}", shape, Role.DATA, _unwritten)


def _unwritten(shape, dtype, seed):
    return tf.raw_ops.Empty(shape=shape, dtype=dtype)
