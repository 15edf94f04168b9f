"""What networks are called. This file does not import TensorFlow."""

VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")


def network_name(name, depth=None, widen_factor=None):
    """Returns what a log calls the network: WRN-28-10 for a resnet, otherwise its name."""
    if name == "resnet":
        return f"WRN-{depth}-{widen_factor}"
    return f"{name[:3].upper()}-{name[3:]}"
