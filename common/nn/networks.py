"""Networks by name."""

import functools

from common.nn import vgg
from common.nn.cnn import CNN6_WIDTHS, CNN9_WIDTHS, cnn
from common.nn.names import VGGS
from common.nn.resnet import resnet


def network(name, depth=None, widen_factor=None, widths=None):
    """Returns `network(images, classes, kernels, mode) -> logits` for a name of the command line.

    Args:
      name: cnn6, cnn9, resnet or vgg11, 13, 16, 19.
      depth, widen_factor: of resnet.
      widths: of CNN-6 and CNN-9, the three stages and fc6; None for their own.
    """
    if name == "cnn6":
        return functools.partial(cnn, widths=widths or CNN6_WIDTHS, convs_per_stage=2)
    if name == "cnn9":
        return functools.partial(cnn, widths=widths or CNN9_WIDTHS, convs_per_stage=3)
    if name == "resnet":
        return functools.partial(resnet, depth=depth, widen_factor=widen_factor)
    if name in VGGS:
        return functools.partial(vgg.vgg, depth=int(name[3:]))
    raise ValueError(f"there is no network {name!r}; choose cnn6, cnn9, resnet or one of {', '.join(VGGS)}")


def check_sides(name, height, width):
    """Raises ValueError for images that are too small for the network of a name."""
    if name in VGGS:
        vgg.check_sides(height, width)
