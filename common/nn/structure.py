"""The layers of a network in their order, read off a dry run of the network's own function."""

import dataclasses

from common.compat import tf
from common.nn import layers
from common.nn.kernels import dry_run

IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class Node:
    """One step of a network, NHWC.

    Attributes:
      name: unique: a layer's scope, or type and number.
      type: "conv", "dense", "batch_norm", "relu", "max_pool", "add", "mean" (over height and width) or "flatten"
        (height, width, channels).
      inputs: names of the nodes whose results it takes; `IMAGES` is the network's input.
      shape: its result's, without the batch.
      scope: where its parameters are, if it has any.
      biased: whether a dense layer has a bias.
      size, stride: of a conv or pool, (height, width).
      padding: of a conv or pool, in pixels: (top, bottom, left, right).
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    scope: str | None = None
    biased: bool = False
    size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    padding: tuple[int, int, int, int] | None = None


def structure(network, classes, image_shape, mode):
    """Returns the `Node`s of a network; the last one gives the scores.

    Args:
      network: `network(images, classes, kernels, mode) -> logits`.
      classes: the number of classes.
      image_shape: (height, width, channels) of its input.
      mode: a `layers.Mode` of evaluation.

    Raises ValueError if the network has an operation that no `Node` describes.
    """

    with tf.Graph().as_default() as graph:
        _, images, scores = dry_run(network, classes, image_shape, mode)
        found = _Nodes(images)
        for operation in graph.get_operations():  # in the order of the network's function
            found.add(operation)
    return found.until(scores)


class _Nodes:
    """The nodes found so far, and which tensor each of them gives."""

    def __init__(self, images):
        self._names = {images.name: IMAGES}
        self._nodes, self._counts = {}, {}
        self._products = {layer.biased.op: layer for layer in layers.products()}
        self._normalizations = {layer.outputs.op: layer for layer in layers.normalizations()}
        self._inside = {layer.outputs.op for layer in layers.products() if layer.biased is not layer.outputs}

    def add(self, operation):
        """Adds the node that an operation ends, if it ends one."""
        if operation in self._products:
            layer = self._products[operation]
            product, biased = layer.outputs.op, layer.biased is not layer.outputs
            if product.type == "MatMul":
                self._named(operation, "dense", product.inputs[:1], layer.scope, biased=biased)
            elif product.type == "Conv2D" and not biased:
                self._named(operation, "conv", product.inputs[:1], layer.scope, **_window(product))
        elif operation in self._normalizations:
            layer = self._normalizations[operation]
            self._named(operation, "batch_norm", [layer.inputs], layer.scope)
        elif operation not in self._inside and operation.type in _UNNAMED:
            taken, kind, fits = _UNNAMED[operation.type]
            if fits(operation):
                options = _window(operation) if kind == "max_pool" else {}
                self._named(operation, kind, operation.inputs[:taken], **options)

    def _named(self, operation, kind, inputs, scope=None, **options):
        names = [self._names.get(tensor.name) for tensor in inputs]
        if None in names:
            return  # inside a layer, or behind something unknown: `until` then has no node for the scores
        name = scope
        if scope is None or scope in self._nodes:  # a dense layer and its batch normalization may share a scope
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{scope}/{kind}" if scope else f"{kind}{self._counts[kind]}"
        shape = tuple(operation.outputs[0].shape.as_list()[1:])
        self._names[operation.outputs[0].name] = name
        self._nodes[name] = Node(name, kind, tuple(names), shape, scope, **options)

    def until(self, scores):
        """Returns the nodes that the scores need, in their order."""
        last = self._names.get(scores.name)
        if last not in self._nodes:
            raise ValueError(f"the network's layers cannot be listed: {scores.op.name} or one before it is unknown")
        needed = {last}
        for node in reversed(self._nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        return [node for node in self._nodes.values() if node.name in needed]


def _over_sides(operation):
    """Whether a mean is over height and width, which then go."""
    axes = tf.get_static_value(operation.inputs[1])
    return operation.inputs[0].shape.rank == 4 and axes.tolist() == [1, 2] and not operation.get_attr("keep_dims")


def _flattens(operation):
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    return after.rank == 2 and after[1] == before[1:].num_elements()


# TensorFlow's type: how many of its inputs are results of nodes, the node's type, and whether it is that.
_UNNAMED = {
    "Relu": (1, "relu", lambda operation: True),
    "MaxPool": (1, "max_pool", lambda operation: True),
    "AddV2": (2, "add", lambda operation: operation.inputs[0].shape == operation.inputs[1].shape),
    "Mean": (1, "mean", _over_sides),
    "Reshape": (1, "flatten", _flattens),
}


def _window(operation):
    """Returns size, stride and padding of a conv or pool."""
    conv = operation.type == "Conv2D"
    size = tuple(operation.inputs[1].shape.as_list()[:2] if conv else operation.get_attr("ksize")[1:3])
    stride = tuple(operation.get_attr("strides")[1:3])
    scheme = operation.get_attr("padding").decode()
    if scheme not in ("SAME", "VALID"):
        raise ValueError(f"{operation.name} has the padding {scheme}, expected SAME or VALID")
    padding = ()
    for side, width, step in zip(operation.inputs[0].shape.as_list()[1:3], size, stride):
        # SAME: as many results as strides begin within the side; an odd pixel is added at the end.
        missing = max((-(-side // step) - 1) * step + width - side, 0) if scheme == "SAME" else 0
        padding += (missing // 2, missing - missing // 2)
    return {"size": size, "stride": stride, "padding": padding}
