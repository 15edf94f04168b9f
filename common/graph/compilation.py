"""Which part of a training step XLA compiles: the network's forward and backward pass, and nothing else.

Operations built within `compiled` are marked, their gradients inherit the mark, and TensorFlow hands connected groups
of them to XLA, on CPUs and GPUs alike and without any variable of the environment. What is built within `excluded`
stays as it is: maps (they hold loops of changing shapes and writes in place that XLA has no kernels for, and their
accuracy is that of the libraries they call), collectives, updates of variables, and random numbers, which are to be the
same either way.
"""

import contextlib

from common.compat import tf


@contextlib.contextmanager
def compiled(wanted=True):
    """Within it, operations are compiled by XLA if `wanted`. Raises ValueError if this TensorFlow has no XLA."""
    if not wanted:
        yield
        return
    if not tf.test.is_built_with_xla():
        raise ValueError("--xla: this TensorFlow was built without XLA; leave --xla out, or install tensorflow by pip")
    with tf.xla.experimental.jit_scope():
        yield


def excluded():
    """Within it, operations are not compiled, whatever encloses it."""
    return tf.xla.experimental.jit_scope(compile_ops=False)
