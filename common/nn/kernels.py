"""Kernels first: all kernels of a network are computed in one place, before the network uses them.

    layers  = plan(network, ...)                       what kernels the network asks for, from a dry run
    kernels = build(layers, factory_of)                P, W0 -> Q(P) W0; layers of one size are one call of the map
    logits  = network(images, classes, kernels, mode)  a network is a plain function of images and kernels
    pull_back(kernels, gradients)                      from the kernels' gradients to those of the generators

Whether a network trains its kernels directly, rotates fixed ones or keeps them on a manifold is decided by a factory.
"""

import dataclasses
import enum
import math
import os
from collections.abc import Callable, Sequence

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn.map_batches import apply_map, attribute_of


class Place(enum.Enum):
    """Where in a network a layer is."""

    FIRST = "first"  # the conv that sees the image
    INNER = "inner"  # any other conv
    PLAIN = "plain"  # 1x1 projections, dense layers and class scores: ordinary weights under every method


@dataclasses.dataclass(frozen=True)
class Layer:
    """What a layer asks of its kernel.

    Attributes:
      scope: the layer's variable scope, without its replica.
      shape: [height, width, inputs, outputs] of a conv, [inputs, outputs] of a dense layer.
      place: a `Place`.
      name: of the variable where the kernel is one.
    """

    scope: str
    shape: tuple[int, ...]
    place: Place = Place.INNER
    name: str = "weight"

    @property
    def inputs(self):
        """n, the inputs of a neuron."""
        return math.prod(self.shape[:-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of one layer of one replica.

    Attributes:
      tensor: the kernel, of the layer's shape.
      degrees_of_freedom: how many numbers training can choose: n(n-1)/2 of an orthogonal matrix.
      rotate: the map; None for a kernel that is a variable.
      generator: the variable P [p, p] that the map computes Q from; None without a map.
      rotated: Q(P) W [p, m], all of the kernel or a part of it; here gradients arrive and are averaged.
      created: what the factory's `create` returned.
    """

    tensor: tf.Tensor
    degrees_of_freedom: int
    rotate: Callable | None = None
    generator: tf.Variable | None = None
    rotated: tf.Tensor | None = None
    created: object = None

    @property
    def matrix(self):
        """The kernel as a matrix [n, m]; a column is a neuron."""
        return tf.reshape(self.tensor, [-1, self.tensor.shape[-1]])


class Factory:
    """Base of all kernel factories; a new one gives `create` and `compute`, and nothing else."""

    def create(self, shape, dtype=tf.float32):
        """Makes a kernel's variables in the open variable scope and returns them, in any form."""
        raise NotImplementedError

    def compute(self, created: Sequence, names: Sequence[str]) -> list[Kernel]:
        """Returns the kernels of layers from what `create` returned for each; `names` are for error messages."""
        raise NotImplementedError

    def begin_at(self, created, kernel):
        """Returns {variable: array or tensor} with which a layer's kernel is `kernel`, an array of its shape.

        Args:
          created: what `create` returned, perhaps in another graph than the open one; tensors are made in the latter.
          kernel: float32.
        """
        raise ValueError(f"{type(self).__name__}: no kernel can be given to this factory")

    def __call__(self, shape, dtype=tf.float32):
        """Returns the kernel of one layer, a tensor of `shape`: for a layer in somebody's own program."""
        created = self.create(tuple(int(size) for size in shape), dtype)
        return self.compute([created], [variables.bare_name(tf.get_variable_scope().name)])[0].tensor


class _Plain(Factory):
    def __init__(self, initial, role, name):
        self._initial, self._role, self._name = initial, role, name

    def create(self, shape, dtype=tf.float32):
        return variables.create(self._name, shape, self._role, self._initial, dtype)

    def compute(self, created, names):
        return [Kernel(tf.convert_to_tensor(kernel), kernel.shape.num_elements(), created=kernel) for kernel in created]

    def begin_at(self, created, kernel):
        return {created: kernel}


def plain(initial=initializers.he_normal, role=Role.WEIGHT, name="weight"):
    """A factory of ordinary trained kernels."""
    return _Plain(initial, role, name)


def unit_norm(name="weight"):
    """A factory of kernels whose neurons (all axes but the last) are unit vectors, to be trained on the manifold."""
    return plain(initializers.unit_neurons, Role.UNIT_KERNEL, name)


@dataclasses.dataclass(frozen=True)
class _Rotated(Factory):
    rotate: Callable
    start: Callable
    role: Role
    orthogonal: bool

    def create(self, shape, dtype=tf.float32):
        inputs = math.prod(shape[:-1])
        weights = variables.create("fix", [inputs, shape[-1]], Role.FIXED, initializers.he_normal, dtype)
        return shape, weights, variables.create("rotation", [inputs, inputs], self.role, self.start, dtype)

    def compute(self, created, names):
        shapes, weights, generators = zip(*created)
        results = apply_map(self.rotate, generators, weights, names)
        return [
            Kernel(tf.reshape(result, shape), freedom(p, self.orthogonal), self.rotate, p, result, of_layer)
            for shape, p, result, of_layer in zip(shapes, generators, results, created)
        ]

    def begin_at(self, created, kernel):
        """P is `identity_of` the map, and W0 = Q^T kernel."""
        _, weights, generator = created
        dtype, size = generator.dtype.base_dtype, generator.shape.as_list()
        identity = identity_of(self.rotate)(size, dtype, None)
        matrix = tf.constant(kernel.reshape(weights.shape.as_list()), dtype)
        return {weights: tf.matmul(rotation(self.rotate, identity), matrix, transpose_a=True), generator: identity}


def identity_of(rotate):
    """Returns the initializer of the generator P at which Q(P) is the identity, but for signs: the map's `identity`."""
    return attribute_of(rotate, "identity", initializers.identity)


def scale_free_axis_of(rotate):
    """Returns the axis of the vectors of P whose lengths Q(P) does not depend on, -2 for columns and -1 for rows.

    It is the map's `scale_free_axis`, None for a map that has none.
    """
    return attribute_of(rotate, "scale_free_axis")


def rotated(rotate, start=initializers.normal(1.0), role=Role.GENERATOR, orthogonal=True):
    """A factory of fixed random kernels rotated by an orthogonal matrix: Q(P) @ W0 (Liu et al., CVPR 2021, section 3).

    Args:
      rotate: a map, `rotate(generators [..., n, n], weights [..., n, m]) -> Q(generators) @ weights`.
      start: initial value of the generator.
      role: `GENERATOR`, or `ROTATION` if the variable is the orthogonal matrix itself.
      orthogonal: whether Q(P) is orthogonal, for the count of the degrees of freedom.

    Creates `fix` [n, m] ~ N(0, 2/n) and `rotation` [n, n].
    """
    return _Rotated(rotate, start, role, orthogonal)


def free():
    """A factory of UPT's kernels, the paper's unconstrained control: P @ W0 with any P, from the identity on."""
    return rotated(tf.matmul, start=initializers.identity, orthogonal=False)


def freedom(generator, orthogonal=True):
    """Returns the degrees of freedom of a matrix of the generator's size."""
    size = int(generator.shape[0])
    return size * (size - 1) // 2 if orthogonal else size * size


def by_place(inner, first=None):
    """Returns `factory_of(layer)`: `plain()` for plain layers, `first`, if given, for the first conv, else `inner`."""

    def factory_of(layer):
        if layer.place is Place.PLAIN:
            return plain(name=layer.name)
        return first if first and layer.place is Place.FIRST else inner

    return factory_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a network is made of.

    Attributes:
      layers: the `Layer` of each kernel, in the network's order.
      scopes: the variable scopes of all variables, in the network's order.
    """

    layers: tuple[Layer, ...]
    scopes: tuple[str, ...]


def plan(network, classes, image_shape, mode):
    """Returns the `Plan` of a network, from a dry run in a scratch graph.

    Args:
      network: `network(images, classes, kernels, mode) -> logits`.
      classes: the number of classes.
      image_shape: (height, width, channels) of its input.
      mode: a `layers.Mode` of evaluation.
    """
    with tf.Graph().as_default():
        layers, _, _ = dry_run(network, classes, image_shape, mode)
        names = [variable.op.name for variable in variables.with_role(*Role)]
    return Plan(tuple(layers), tuple(dict.fromkeys(map(os.path.dirname, names))))


def dry_run(network, classes, image_shape, mode):
    """Builds a network in the open graph, with zeros for kernels; returns (its `Layer`s, the images, the scores).

    The arguments are those of `plan`.
    """
    layers, images = [], tf.placeholder(tf.float32, [1, *image_shape])

    def ask(layer):
        layers.append(layer)
        return variables.create("kernel", layer.shape, Role.WEIGHT, initializers.zeros)

    return layers, images, network(images, classes, ask, mode)


def build(of_network, factory_of, dtype=tf.float32):
    """Returns {scope: `Kernel`} of a network, in its order, and makes the variables; call it in the replica's scope.

    Args:
      of_network: a `Plan`.
      factory_of: `factory_of(layer) -> Factory`.
      dtype: of the variables.
    """
    variables.list_by(of_network.scopes)
    groups, found = {}, {}
    for layer in of_network.layers:
        factory = factory_of(layer)
        with tf.variable_scope(layer.scope):
            groups.setdefault(factory, []).append((layer.scope, factory.create(layer.shape, dtype)))
    for factory, members in groups.items():
        scopes, created = zip(*members)
        found.update(zip(scopes, factory.compute(created, scopes)))
    return {layer.scope: found[layer.scope] for layer in of_network.layers}


def given(tensors):
    """Returns what a network takes as its kernels: `kernels(layer) -> tensor`, of {scope: tensor}."""

    def kernel_of(layer):
        tensor = tensors[layer.scope]
        if tuple(tensor.shape.as_list()) != layer.shape:
            raise ValueError(f"the layer {layer.scope} takes a kernel of shape {list(layer.shape)}, not {tensor.shape}")
        return tensor

    return kernel_of


def rotation(rotate, generator):
    """Returns Q(generator) [n, n], by applying the map to the identity: as costly as a map gets."""
    return rotate(generator, tf.eye(int(generator.shape[-1]), dtype=generator.dtype.base_dtype))
