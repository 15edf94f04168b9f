"""Where a conv kernel comes from.

A kernel factory is called by `layers.conv2d`, or by a layer of one's own, inside the layer's variable scope, with the
kernel's shape [height, width, inputs, outputs], or [inputs, outputs] for a matrix; it creates its variables and returns
the kernel. The layer cannot tell one from another: whether a network trains its kernels directly, turns fixed ones or
keeps them on a manifold is decided here.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from common.compat import tf
from common.graph import initializers, variables
from common.graph.functions import shared
from common.graph.variables import Role

_KERNELS = "common/kernels"


@dataclasses.dataclass(frozen=True)
class LayerKernel:
    """The kernel of one layer of one replica.

    Attributes:
      layer: the layer's variable scope, without its replica.
      tensor: the kernel, [height, width, inputs, outputs] or [inputs, outputs].
      replica: the number of the replica that it belongs to.
      rotate: the map that it is computed with; None for a kernel that is a variable.
      generator: what the map computes its orthogonal matrix from, [p, p].
      degrees_of_freedom: how many numbers training can choose: p(p-1)/2 for an orthogonal matrix.
      turned: what the map gave, [p, m]; all of the kernel, or the part of it that is turned.
      trained: the variable that the generator is read from.
    """

    layer: str
    tensor: tf.Tensor
    replica: int
    rotate: Callable | None = None
    generator: tf.Tensor | None = None
    degrees_of_freedom: int = 0
    turned: tf.Tensor | None = None
    trained: tf.Variable | None = None

    @property
    def matrix(self):
        """The kernel as a matrix [n, m]; a column is a neuron."""
        return tf.reshape(self.tensor, [-1, self.tensor.shape[-1]])

    @property
    def orthogonal(self):
        """Whether the kernel is computed by a map whose matrix is orthogonal."""
        size = int(self.generator.shape[0]) if self.rotate else 0
        return self.rotate is not None and self.degrees_of_freedom == size * (size - 1) // 2

    def rotation(self):
        """Returns Q itself, by applying the map to the identity: as costly as a map gets, so not for every step."""
        return rotation(self.rotate, self.generator)


def plain(initial=initializers.he_normal, role=Role.WEIGHT, name="weight"):
    """An ordinary trained kernel."""

    def kernel(shape, dtype=tf.float32):
        shape = [int(size) for size in shape]
        variable = variables.create(name, shape, role, initial, dtype)
        return record(tf.convert_to_tensor(variable), degrees_of_freedom=int(np.prod(shape)))

    return kernel


def unit_norm(name="weight"):
    """A kernel whose neurons (all axes but the last) start as unit vectors and stay on the Grassmann manifold."""
    return plain(initializers.unit_neurons, Role.UNIT_KERNEL, name)


def rotated(rotate, start=initializers.normal(1.0), role=Role.GENERATOR, orthogonal=True):
    """A fixed random kernel turned by an orthogonal matrix: Q(P) @ W0 (Liu et al., CVPR 2021, section 3).

    Args:
      rotate: a map, `rotate(generator [n, n], weights [n, m]) -> Q(generator) @ weights`.
      start: where the generator starts.
      role: `GENERATOR`, or `ROTATION` if the variable is the orthogonal matrix itself.
      orthogonal: whether Q(P) is orthogonal, for the count of the degrees of freedom.

    Creates `fix` [n, m] ~ N(0, 2/n) and `rotation` [n, n].
    """

    def kernel(shape, dtype=tf.float32):
        shape = [int(size) for size in shape]
        if known := recorded(shape):
            return known.tensor
        inputs = int(np.prod(shape[:-1]))
        weights = variables.create("fix", [inputs, shape[-1]], Role.FIXED, initializers.he_normal, dtype)
        trained = variables.create("rotation", [inputs, inputs], role, start, dtype)
        weights, generator = tf.convert_to_tensor(weights), two_at_a_time(tf.convert_to_tensor(trained), earlier())
        turned = turned_by(rotate, generator, weights)
        freedom = inputs * (inputs - 1) // 2 if orthogonal else inputs * inputs
        return record(tf.reshape(turned, shape), rotate, generator, freedom, turned, trained)

    return kernel


def rotation(rotate, generator):
    """Returns Q(generator), [n, n]."""
    return rotate(generator, tf.eye(int(generator.shape[0]), dtype=generator.dtype))


def turned_by(rotate, generator, weights):
    """Returns Q(generator) @ weights, by a body that layers of equal shapes share; fixed weights get no gradient."""
    if rotate is tf.matmul:  # one node already
        return tf.matmul(generator, weights)
    # An identity: tf.gradients differentiates calls also where it is told to stop (see training/exchange.py).
    return tf.identity(shared(_turn, rotate)(generator, weights))


def _turn(rotate, generator, weights):
    return rotate(generator, tf.stop_gradient(weights))


def two_at_a_time(tensor, earlier):
    """Returns what a map or its gradient begins with, once the last but one of `earlier` is there: results of others.

    All generators are known when a step begins, so that TensorFlow would compute all maps at once, and what each needs
    on the way would be in memory together. While one map does what leaves cores idle, another has work for them.
    """
    with tf.control_dependencies(earlier[-2:-1]):
        return tf.identity(tensor)


def earlier():
    """Returns what the maps of the layers before this one gave."""
    return [kernel.tensor for kernel in rotated_layers(variables.current_replica())]


def free():
    """UPT, the unconstrained control of the paper: P @ W0 with any P, which starts at the identity."""
    return rotated(tf.matmul, start=initializers.identity, orthogonal=False)


def record(tensor, rotate=None, generator=None, degrees_of_freedom=0, turned=None, trained=None):
    """Registers `tensor` as the kernel of the open scope (see `LayerKernel`), unless it has one, and returns it."""
    if not _known():
        layer = variables.bare_name(tf.get_variable_scope().name)
        replica = variables.current_replica()
        kernel = LayerKernel(layer, tensor, replica, rotate, generator, degrees_of_freedom, turned, trained)
        tf.add_to_collection(_KERNELS, kernel)
    return tensor


def recorded(shape):
    """Returns the `LayerKernel` of the open scope, or None.

    A second pass over the same variables (evaluation) uses the first one's tensor: each map exists once in a graph, and
    feeding that tensor freezes the kernel. As with variables, the second pass has to say that it reuses: raises
    ValueError if it does not, and if it wants another shape.
    """
    known = _known()
    if known is None:
        return None
    layer = f"the variable scope {known.layer!r}" if known.layer else "the outermost variable scope"
    if not tf.get_variable_scope().reuse:
        raise ValueError(f"{layer} has a kernel already: open a scope for each layer, or share it with reuse=True")
    if known.tensor.shape.as_list() != list(shape):
        raise ValueError(f"{layer} has a kernel of shape {known.tensor.shape.as_list()}, which cannot be {list(shape)}")
    return known


def _known():
    layer = variables.bare_name(tf.get_variable_scope().name)
    replica = variables.current_replica()
    known = tf.get_collection(_KERNELS)
    return next((kernel for kernel in known if kernel.layer == layer and kernel.replica == replica), None)


def of_layers(replica=0):
    """Returns the kernels of one replica's conv layers, in the order of the layers."""
    return [kernel for kernel in tf.get_collection(_KERNELS) if kernel.replica == replica]


def rotated_layers(replica=0):
    """Returns those that are computed by a map: the only ones that evaluation has to freeze."""
    return [kernel for kernel in of_layers(replica) if kernel.rotate is not None]
