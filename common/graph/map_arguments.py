"""What every map checks of its arguments before it computes."""

from common.compat import tf


def checked(name, generator, weights):
    """Returns generator [n, n] and weights [n, m] as tensors of one floating type.

    Raises ValueError, in one line that names the map, if shapes or types do not fit.
    """
    generator, weights = tf.convert_to_tensor(generator), tf.convert_to_tensor(weights)
    types = [generator.dtype.name, weights.dtype.name]
    if types not in (["float32"] * 2, ["float64"] * 2):
        raise ValueError(f"{name}: generator and weights are {' and '.join(types)}, expected both float32 or float64")
    size = generator.shape.as_list() if generator.shape.rank == 2 else [None]
    if size[0] is None or size[0] < 1 or size != [size[0]] * 2:
        raise ValueError(f"{name}: the generator has shape {generator.shape}, expected [n, n] with n >= 1")
    if weights.shape.rank != 2 or weights.shape.as_list()[0] != size[0]:
        raise ValueError(f"{name}: the weights have shape {weights.shape}, expected [{size[0]}, m] like the generator")
    return generator, weights
