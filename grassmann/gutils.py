"""Geometry of unit neurons under the names and arguments of the original program's gutils.

    import gutils                      # in this folder, as the original's programs do
    from grassmann import gutils       # with this repository on the path

The mathematics stands in common/riemannian/geometry.py. Kernels are tensors or variables [..., m]: m neurons, which
run over all axes but the last. With `normalize` a function first brings the points y to norm 1 and projects tangent
vectors on the tangent space at y; without it both are taken to be so.
"""

import importlib
import os
import sys

if not __package__:  # imported in this folder: the root is made known, and the module is one under both names
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    sys.modules[__name__] = importlib.import_module("grassmann.gutils")

from common.compat import tf
from common.riemannian import geometry

__all__ = ["clip_by_norm", "gexp", "gproj", "gpt", "gpt2", "norm", "unit", "unit_initializer", "xTy"]


def norm(v):
    """|v| of each neuron, [1, ..., 1, m]."""
    return geometry.norm(v)


def unit(v, eps=1e-8):
    """Returns v / (|v| + eps), of the shape of v, and |v|, [1, ..., 1, m]."""
    return geometry.normalise(v, eps), geometry.norm(v)


def xTy(x, y):
    """<x, y> of each neuron, [1, ..., 1, m]."""
    return geometry.inner(x, y)


def clip_by_norm(v, clip_norm):
    """Each neuron's v, brought to the norm `clip_norm` > 0 if it is longer."""
    return geometry.clip(v, clip_norm)


def gproj(y, g, normalize=False):
    """The tangent vector h = g - <y, g> y at y of a Euclidean gradient g."""
    y = geometry.normalise(y) if normalize else y
    return geometry.project(y, g)


def gexp(y, h, normalize=False):
    """exp_y(h) = y cos|h| + h sin|h| / |h|."""
    y, h = _on_manifold(y, h) if normalize else (y, h)
    return geometry.exponential(y, h)


def gpt(y, h, normalize=False):
    """h cos|h| - y |h| sin|h|: h translated along itself, on exp_y(t h), to exp_y(h)."""
    y, h = _on_manifold(y, h) if normalize else (y, h)
    return geometry.transport_along_itself(y, h)


def gpt2(y, h1, h2, normalize=False):
    """h1 - <u, h1> (y sin|h2| + (1 - cos|h2|) u), u = h2 / |h2|: h1 translated along exp_y(t h2), to exp_y(h2)."""
    y, h1, h2 = _on_manifold(y, h1, h2) if normalize else (y, h1, h2)
    return geometry.transport(y, h2, h1)


def _on_manifold(y, *tangents):
    y = geometry.normalise(y)
    return y, *[geometry.project(y, tangent) for tangent in tangents]


class unit_initializer:
    """An initializer: truncated normals, scaled so that every neuron has norm 1.

    `unit_initializer()(shape)` is a tensor to assign to a variable; `initializer=unit_initializer()` does in
    `tf.get_variable`.

    Args:
      seed: of the operation, as in `tf.random.truncated_normal`.
      dtype: of the tensor, unless the call says otherwise.
      eps: what is added to norms before the division.
    """

    def __init__(self, seed=None, dtype=tf.float32, eps=1e-8):
        self.seed, self.dtype, self.eps = seed, dtype, eps

    def __call__(self, shape, dtype=None, partition_info=None):
        raw = tf.random.truncated_normal(shape, dtype=dtype or self.dtype, seed=self.seed)
        return geometry.normalise(raw, self.eps)
