"""The filters of a network's first layer as pictures."""

import itertools
import os

import numpy as np

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.runs import pictures

_SIDE = 48  # about how many pixels high a filter is drawn
_BORDER = 3  # pixels between two of them


def draw(session, kernels, folder, name):
    """Writes the first layer's filters as PNG files `folder`/`name`_*.png; returns lines that say where they are.

    A rotated kernel is drawn before, W0, and after, Q @ W0; any other as it is. All filters have one scale: 0 is the
    middle grey, and the largest absolute value in any of the pictures is the lightest or darkest shade there is.
    A file that is there is never overwritten: another picture gets the next free number behind its name.
    Raises ValueError if a file cannot be written.
    """
    scope, layer = next(iter(kernels.items()))
    shape = layer.tensor.shape.as_list()
    what = f"first layer {scope}, {shape[3]} filters of {shape[0]} x {shape[1]} x {shape[2]}"
    if shape[2] not in pictures.CHANNELS:
        return [f"{what}: not drawn, since a picture has 1 or 3 channels (grey, or red, green and blue)"]
    wanted = {"kernel": layer.tensor}
    if layer.rotate is not None:
        wanted = {"before": tf.reshape(_fixed(scope), shape), "after": layer.tensor}
    values = {key: np.transpose(value, [3, 0, 1, 2]) for key, value in session.run(wanted).items()}
    largest = max(np.abs(value).max() for value in values.values())
    factor = max(1, _SIDE // max(shape[:2]))
    lines = [f"{what}, {factor} times as large; 0 is grey, {largest:.4g} the lightest, {-largest:.4g} the darkest"]
    for key, value in values.items():
        stem = os.path.join(folder, f"{name}_{scope.replace('/', '_')}_{key}")
        picture = pictures.grid(pictures.shades(value, largest), border=_BORDER, factor=factor)
        lines.append(f"{_WORDS[key]}: {_write(stem, pictures.png(picture))}")
    return lines


_WORDS = {"kernel": "its kernel", "before": "before the rotation, W0", "after": "after the rotation, Q @ W0"}


def _fixed(scope):
    """Returns W0 [n, m] of a layer whose kernel is rotated."""
    fixed = variables.with_role(Role.FIXED)
    return next(variable for variable in fixed if os.path.dirname(variable.op.name) == scope)


def _write(stem, content):
    """Writes `stem`.png, or `stem`-2.png and so on if that is another picture; returns the path."""
    try:
        os.makedirs(os.path.dirname(stem) or ".", exist_ok=True)
        for number in itertools.count(1):
            path = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
            if not os.path.exists(path):
                with open(path, "xb") as file:
                    file.write(content)
                return path
            with open(path, "rb") as file:
                if file.read() == content:
                    return path
    except OSError as error:
        raise ValueError(
            f"cannot write {stem}.png: {error.strerror}; choose another --train_dir, or --noverbose, which omits it"
        ) from None
