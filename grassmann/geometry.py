"""Geometry of G(1, n), under the name that it had here: everything stands in common/riemannian/geometry.py."""

from common.riemannian.geometry import (
    clip, exponential, inner, norm, normalise, project, transport, transport_along_itself,
)  # fmt: skip

__all__ = [
    "clip", "exponential", "inner", "norm", "normalise", "project", "transport", "transport_along_itself",
]  # fmt: skip
