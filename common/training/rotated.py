"""How far an update has rotated each layer, ||Q' W0 - Q W0||_F / ||Q W0||_F: shows which layers stand still.

For an orthogonal Q the denominator is ||W0||_F. The kernels before and after an update are all it takes, so methods
without a map are right too, and the end of an episode, which leaves the kernels in place, counts for nothing.
"""

import numpy as np


def tensors(kernels):
    """Returns {scope: kernel tensor} of the rotated layers of {scope: `Kernel`}."""
    return {scope: kernel.tensor for scope, kernel in kernels.items() if kernel.rotate is not None}


def changes(before, after):
    """Returns {scope: relative change} of {scope: array} before and after an update."""
    return {
        scope: float(np.linalg.norm(after[scope] - kernel) / np.linalg.norm(kernel)) for scope, kernel in before.items()
    }


def words(found):
    """Yields what a log says of changes, if there are any: the least and the most, with their layers."""
    if found:
        least, most = min(found, key=found.get), max(found, key=found.get)
        yield f"change of Q W0 = {found[least]:.1e} ({least}) to {found[most]:.1e} ({most})"
