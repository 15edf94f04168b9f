"""In which type of numbers a network is computed, as opposed to the type in which everything is kept.

Forward and backward of the network run in the low precision: activations, and kernels and matrices cast where they are
used. Kept and computed in float32 are all variables and their updates, the maps, the statistics of batch
normalization, the class scores from the softmax on, and the loss. So checkpoints are the same whatever the precision.

float16 reaches down to 6e-8 only (6e-5 at full accuracy), and a mean over images and positions makes the gradients of
activations smaller than that. So gradients are taken of `loss_scale` times the loss, and those of the variables are
divided by it in float32 (Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2). bfloat16 has the
range of float32 and needs no scale. The scale is constant, so no update is lost to finding one and nothing is kept
between steps: batch normalization keeps gradients within a band (of kernels up to 1; of activations 1e-6 to 1e-2).

tf32 is float32 whose products and convolutions read 11 bits of each number. The switch is the process's, so it is on in
the validations of such a run as well; the maps have products of their own (`linalg.matmul`).
"""

import contextlib
import os

from common.compat import tf
from common.graph import linalg

LOW = (tf.bfloat16, tf.float16)
_FIRST_WITH_TF32 = (8, 0)  # compute capability
_LOSS_SCALES = {"float16": 1024.0}  # a power of two: it rounds nothing


def chosen(precision):
    """Returns what `auto` is on these devices: tf32 where all GPUs have it (Ampere and later), else float32."""
    if precision != "auto":
        return precision
    return "tf32" if min(linalg.compute_capabilities(), default=()) >= _FIRST_WITH_TF32 else "float32"


def switch(precision):
    """Turns TensorFloat-32 on for this process, or off."""
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


def kept_as(dtype):
    """Returns the type of variables and statistics of a layer whose activations are of `dtype`."""
    return tf.float32 if dtype in LOW else dtype


def lowered(images, precision):
    """Returns images as a network of that precision takes them; float32 and tf32 mean: as they are."""
    dtype = tf.float32 if precision == "tf32" else tf.as_dtype(precision)
    return tf.cast(images, dtype) if dtype in LOW else images


def loss_scale_of(precision):
    """Returns the loss scale that a precision needs; 1 for none."""
    return _LOSS_SCALES.get(precision, 1.0)


def gradients(loss, members, scale=1.0):
    """Returns the gradients of `loss`, computed for `scale` times the loss and divided by it; None as tf.gradients."""
    scaled = tf.gradients(loss, members, grad_ys=tf.constant(scale, loss.dtype))
    if scale == 1.0:
        return scaled
    return [None if gradient is None else gradient * (1.0 / scale) for gradient in scaled]


# --- which part of a step XLA compiles --------------------------------------------------------------------------------
#
# The network is built within `compiled`: its operations are marked, their gradients inherit the mark, and TensorFlow
# hands connected groups of them to XLA. The finite check, the optimizers' steps and the writes of all variables are one
# function, `as_one`. The batch, maps, collectives and random numbers are outside, or within `excluded`: they have
# loops, libraries and orders of their own, and are to be the same either way.

_GRAPHS = "--xla_gpu_graph_min_graph_size=1"  # CUDA graphs of one kernel and more; XLA makes them of five


def compiled(wanted):
    """Within it, operations are compiled by XLA if `wanted`. Raises ValueError if this TensorFlow has no XLA."""
    if not wanted:
        return contextlib.nullcontext()
    if not tf.test.is_built_with_xla():
        raise ValueError("--xla: this TensorFlow was built without XLA; leave --xla out, or install tensorflow by pip")
    return tf.xla.experimental.jit_scope()


def as_one(function, wanted):
    """Returns function(), a structure of tensors; if `wanted`, XLA compiles the whole, writes included, as one."""

    def compiled_function():
        with linalg.for_xla():
            return function()

    return tf.function(compiled_function, autograph=False, jit_compile=True)() if wanted else function()


def prepare_xla():
    """Lets XLA make CUDA graphs of whatever it compiles; call it before the first session. A user's XLA_FLAGS stay."""
    os.environ.setdefault("XLA_FLAGS", _GRAPHS)


def excluded():
    """Within it, operations are not compiled, whatever encloses it."""
    return tf.xla.experimental.jit_scope(compile_ops=False)
