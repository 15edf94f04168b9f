"""The layers of the networks, all NHWC.

A layer's variables are created in the open variable scope, which the networks name. Activations may be of low
precision; variables and statistics are then float32 (see common/graph/precision.py).
"""

import dataclasses

from common.compat import tf
from common.graph import initializers, variables
from common.graph.precision import excluded, kept_as
from common.graph.replicas import ALONE, Replica
from common.graph.variables import Role
from common.nn.kernels import Layer, Place

_PRODUCTS, _NORMALIZATIONS = "common/layers/products", "common/layers/normalizations"
_UPDATE_RATES = "common/layers/update_rates"


@dataclasses.dataclass(frozen=True)
class BatchNormConstants:
    """Constants of batch normalization.

    Attributes:
      decay: of the moving averages.
      epsilon: added to the variance.
      corrected: whether the averages weigh the batches seen so far as if there had been no start value (Adam's
        correction of the bias, applied as the averages are updated). Usable from the first step on.
    """

    decay: float
    epsilon: float
    corrected: bool

    def decay_for(self, updates):
        """Returns `decay`, or less in a run that has so few updates after the last drop of its learning rate.

        min(decay, 1 - 5 / updates): of what came before the drop e^-5 is left at the end, 0.7 %.
        """
        return min(self.decay, max(0.0, 1.0 - 5.0 / max(updates, 1)))

    def update_rate(self, step):
        """Returns the weight of the batch of `step` in the moving averages: 1 - decay, or (1-d) / (1-d^(step+1))."""
        rate = 1.0 - self.decay
        if not self.corrected:
            return rate
        updates = tf.cast(step, tf.float64) + 1.0
        return rate / (1.0 - tf.pow(tf.constant(self.decay, tf.float64), updates))


@dataclasses.dataclass(frozen=True)
class Mode:
    """What a pass over a network is like.

    Attributes:
      training: batch statistics, moving averages updated and dropout; or stored statistics and neither.
      batch_norm: its constants.
      keep_prob: probability with which dropout keeps a value; None for no dropout.
      step: the index of the update under way, an int64 tensor; only training asks for it.
      replica: which slice of the batch this is.
      sync_bn: whether batch normalization has the statistics of the whole batch, or each replica those of its slice.
      folded: None, or {scope: (scale, shift)} of all batch normalizations, which then have no variables. The
        scale is None where the layer before has it in its weights (see common/training/folding.py).
    """

    training: bool
    batch_norm: BatchNormConstants
    keep_prob: float | None = None
    step: tf.Tensor | None = None
    replica: Replica = ALONE
    sync_bn: bool = True
    folded: dict | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """What a conv or dense layer computes before its bias: linear in its kernel, whose last axis is that of `outputs`.

    Attributes:
      scope: the layer's variable scope.
      outputs: its result, before a bias.
      biased: its result with the bias; `outputs` where there is none.
    """

    scope: str
    outputs: tf.Tensor
    biased: tf.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """A batch normalization with stored statistics: the affine map scale * x + shift of each channel.

    Attributes:
      scope: its variable scope.
      inputs: what it is applied to.
      outputs: its result.
      mean, variance, beta, gamma: its parameters, tensors or variables [channels].
    """

    scope: str
    inputs: tf.Tensor
    outputs: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor
    beta: tf.Tensor
    gamma: tf.Tensor


def conv2d(images, filters, size, kernels, stride=1, padding="SAME", place=Place.INNER, name="weight"):
    """Convolves [batch, height, width, channels] with the `size` x `size` kernel of the open scope; no bias.

    Args:
      images: the input.
      filters: the number of output channels.
      size: height and width of the kernel.
      kernels: `kernels(layer) -> tensor`, see `kernels.given`.
      stride, padding: as in tf.nn.conv2d.
      place, name: of the `Layer`.
    """
    kernel = _kernel(kernels, [size, size, int(images.shape[-1]), filters], place, name)
    return _product(tf.nn.conv2d(images, tf.cast(kernel, images.dtype), strides=stride, padding=padding))


def dense(features, units, kernels, bias="bias"):
    """features [batch, n] @ weight [n, units] + bias; `bias=None` for none."""
    weight = _kernel(kernels, [int(features.shape[-1]), units], Place.PLAIN, "weight")
    outputs = tf.matmul(features, tf.cast(weight, features.dtype))
    if bias is None:
        return _product(outputs)
    variable = variables.create(bias, [units], Role.BIAS, initializers.zeros, kept_as(features.dtype.base_dtype))
    return _product(outputs, outputs + tf.cast(variable, features.dtype))


def _kernel(kernels, shape, place, name):
    return kernels(Layer(variables.bare_name(tf.get_variable_scope().name), tuple(shape), place, name))


def _product(outputs, biased=None):
    """Registers a layer's `Product` and returns its result."""
    biased = outputs if biased is None else biased
    tf.add_to_collection(_PRODUCTS, Product(tf.get_variable_scope().name, outputs, biased))
    return biased


def products():
    """Returns the `Product` of every conv and dense layer of every pass built so far."""
    return tf.get_collection(_PRODUCTS)


def normalizations():
    """Returns the `Normalization` of every batch normalization built so far for evaluation."""
    return tf.get_collection(_NORMALIZATIONS)


def batch_norm(inputs, mode, scale=True):
    """Batch normalization over all axes but the last (Ioffe & Szegedy, 2015): gamma * (x - mean) / std + beta.

    Creates beta, gamma (if `scale`), pop_mean and pop_var. In training, changes of the moving averages go to
    UPDATE_OPS; they average the *biased* batch variance. With several replicas the statistics are those of the whole
    batch: means over the replicas are taken before use. With `sync_bn` off they are those of the replica's own slice,
    and only the changes of the averages are averaged. All replicas hold the same averages either way.
    """
    if mode.folded is not None:
        return _scaled_and_shifted(inputs, *mode.folded[tf.get_variable_scope().name])
    channels, dtype = [int(inputs.shape[-1])], kept_as(inputs.dtype.base_dtype)
    beta = variables.create("beta", channels, Role.BETA, initializers.zeros, dtype)
    gamma = tf.ones(channels, dtype)
    if scale:
        gamma = variables.create("gamma", channels, Role.GAMMA, initializers.ones, dtype)
    mean = variables.create("pop_mean", channels, Role.MOVING, initializers.zeros, dtype)
    variance = variables.create("pop_var", channels, Role.MOVING, initializers.ones, dtype)
    epsilon = mode.batch_norm.epsilon
    if not mode.training:
        outputs = tf.nn.batch_normalization(tf.cast(inputs, dtype), mean, variance, beta, gamma, epsilon)
        outputs = tf.cast(outputs, inputs.dtype.base_dtype)
        layer = Normalization(tf.get_variable_scope().name, inputs, outputs, mean, variance, beta, gamma)
        tf.add_to_collection(_NORMALIZATIONS, layer)
        return outputs
    replica = mode.replica if mode.sync_bn else ALONE
    if dtype == tf.float32 and replica.count == 1:
        outputs, batch_mean, batch_variance, factor = _fused(inputs, beta, gamma, epsilon)
    else:
        outputs, batch_mean, batch_variance, factor = _from_moments(inputs, beta, gamma, epsilon, replica)
    with excluded():
        rate, local = _update_rate(mode, dtype), replica.count < mode.replica.count
    variables.average_later(mean, batch_mean, rate, 1.0, local)
    variables.average_later(variance, batch_variance, rate, factor, local)
    return tf.cast(outputs, inputs.dtype.base_dtype)


def _update_rate(mode, dtype):
    """`BatchNormConstants.update_rate`, one tensor for all layers of a pass: on a GPU every scalar costs a kernel."""
    key = (mode.batch_norm, mode.replica.index, getattr(mode.step, "name", mode.step), dtype)
    known = tf.get_collection_ref(_UPDATE_RATES)
    if key not in dict(known):
        known.append((key, tf.cast(mode.batch_norm.update_rate(mode.step), dtype)))
    return dict(known)[key]


def _scaled_and_shifted(inputs, scale, shift):
    if scale is not None:
        inputs = inputs * tf.constant(scale, inputs.dtype)
    return tf.nn.bias_add(inputs, tf.constant(shift, inputs.dtype))


def _fused(inputs, beta, gamma, epsilon):
    """The fused kernel: fast, statistics in float32 only. Returns outputs, mean, variance and the variance's factor.

    The kernel gives the unbiased variance, N/(N-1) times ours.
    """
    images = inputs if inputs.shape.ndims == 4 else inputs[:, None, None, :]
    outputs, mean, variance = tf.nn.fused_batch_norm(images, gamma, beta, epsilon=epsilon, is_training=True)
    count = images.shape[:-1].num_elements()
    if count is None:
        count = tf.cast(tf.reduce_prod(tf.shape(images)[:-1]), tf.float32)
        variance *= tf.maximum(count - 1.0, 1.0) / count
        return tf.reshape(outputs, tf.shape(inputs)), mean, variance, 1.0
    return tf.reshape(outputs, inputs.shape), mean, variance, max(count - 1.0, 1.0) / count


def _from_moments(inputs, beta, gamma, epsilon, replica):
    """The same for any dtype and any number of replicas: the means over them of the mean and of the mean square.

    One collective for both. The variance is the difference of the mean square and the square of the mean, which in
    float32 would lose the variance of channels far from 0.
    """
    inputs = tf.cast(inputs, kept_as(inputs.dtype.base_dtype))
    mean, variance = tf.nn.moments(inputs, list(range(inputs.shape.ndims - 1)))
    if replica.count > 1:
        wide_mean, wide_variance = tf.cast(mean, tf.float64), tf.cast(variance, tf.float64)
        first, second = tf.unstack(replica.mean(tf.stack([wide_mean, wide_variance + tf.square(wide_mean)])))
        mean = tf.cast(first, inputs.dtype)
        variance = tf.cast(tf.maximum(second - tf.square(first), 0.0), inputs.dtype)
    return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, epsilon), mean, variance, 1.0


def max_pool(images, padding="VALID"):
    """2 x 2 max-pooling with stride 2; of an odd side "SAME" keeps the last row or column, "VALID" drops it."""
    return tf.nn.max_pool2d(images, 2, 2, padding)


def dropout(inputs, mode):
    """Keeps each value with probability `keep_prob`, scaled by its inverse; the identity in evaluation.

    The mask is a function of (run seed, name of the open scope, step), drawn for the whole batch and then sliced:
    how many replicas share the batch does not change it.
    """
    if not mode.training or mode.keep_prob is None or mode.keep_prob == 1.0:
        return inputs
    size = int(inputs.shape[0])
    shape = [size * mode.replica.count] + inputs.shape.as_list()[1:]
    first = mode.replica.index * size
    with excluded():  # of several devices' dropouts XLA would make one group, and refuse it
        key = variables.key_of(tf.get_variable_scope().name, mode.step)
        uniform = tf.random.stateless_uniform(shape, key, dtype=kept_as(inputs.dtype.base_dtype))[first : first + size]
        return tf.where(uniform < mode.keep_prob, inputs / mode.keep_prob, tf.zeros_like(inputs))
