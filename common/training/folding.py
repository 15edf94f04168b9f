"""The numbers of a trained network: ordinary kernels without maps, and batch normalization as an affine map.

Q @ W0 is an ordinary kernel, and batch normalization with stored statistics is an affine map of each channel,

    gamma (x - mean) / sqrt(variance + epsilon) + beta = scale x + shift,
    scale = gamma / sqrt(variance + epsilon),  shift = beta - scale mean.

If x is what a conv or dense layer computes and nothing else takes x, then scale (column j of W) = column j of
(scale W): the scale goes into the layer's weight and the shift is its bias. A pre-activation network also normalizes
sums; their scale and shift remain. The products are taken in float64 and rounded once, to float32.
"""

import dataclasses

import numpy as np

from common.graph import variables
from common.graph.variables import Role
from common.nn import layers


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The numbers of a network without maps.

    Attributes:
      weights: {scope of a conv or dense layer: its kernel or matrix}.
      biases: {name of the variable: value}.
      statistics: {scope of a batch normalization: (gamma, beta, mean, variance)}.
      before: {scope of a batch normalization: scope of the layer whose weight can take its scale}, where there is one.
    """

    weights: dict
    biases: dict
    statistics: dict
    before: dict

    def folded(self, epsilon):
        """Returns (weights, normalizations) with each scale in the weight of the layer before, where there is one.

        Normalizations are {scope: (scale, shift)}, scale None where the weight has it: `Mode.folded`.
        """
        weights, normalizations = dict(self.weights), {}
        for scope, values in self.statistics.items():
            gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
            scale = gamma / np.sqrt(variance + epsilon)
            shift = beta - scale * mean
            if scope in self.before:
                weights[self.before[scope]] = weights[self.before[scope]] * scale
                scale = None
            normalizations[scope] = (scale, shift)
        return weights, normalizations


def read(session, kernels):
    """Returns the `Parameters` of the evaluation pass in the default graph, with {scope: `Kernel`}."""
    weights, biases, statistics = session.run(
        [
            {scope: kernel.tensor for scope, kernel in kernels.items()},
            {bias.op.name: bias for bias in variables.with_role(Role.BIAS)},
            {layer.scope: (layer.gamma, layer.beta, layer.mean, layer.variance) for layer in layers.normalizations()},
        ]
    )
    products = {layer.outputs.op: layer.scope for layer in layers.products()}
    before = {
        layer.scope: products[layer.inputs.op]
        for layer in layers.normalizations()
        if layer.inputs.op in products and len(layer.inputs.consumers()) == 1
    }
    return Parameters(weights, biases, statistics, before)


def check(arrays):
    """Raises ValueError if one of {name: array} has a number that is not finite."""
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} has numbers that are not finite; there is nothing to export")
