"""The wide residual network (Zagoruyko & Komodakis, BMVC 2016), pre-activation form, as Cho & Lee (2017) train it."""

from common.compat import tf
from common.nn import layers
from common.nn.kernels import Place

BASE_WIDTH = 16


def resnet(images, classes, kernels, mode, depth, widen_factor):
    """Returns logits [batch, classes] of WRN-`depth`-`widen_factor`; depth = 6n + 4.

    A 3x3 conv to 16 filters, three groups of n blocks with 16k, 32k and 64k filters, BN, ReLU, global average pool, and
    the classes with bias.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a wide residual network has depth 6n + 4 (10, 16, 22, 28, 40, ...), not {depth}")
    if widen_factor < 1:
        raise ValueError(f"the widening factor is a whole number from 1 on, not {widen_factor}")
    with tf.variable_scope("group1/conv0"):
        features = layers.conv2d(images, BASE_WIDTH, 3, kernels, place=Place.FIRST)
    for group in (2, 3, 4):
        width = BASE_WIDTH * widen_factor * 2 ** (group - 2)
        for index in range((depth - 4) // 6):
            with tf.variable_scope(f"group{group}_block{index}"):
                features = _block(features, width, 2 if group > 2 and index == 0 else 1, kernels, mode)
    with tf.variable_scope("fc"):
        with tf.variable_scope("batch_norm"):
            features = tf.nn.relu(layers.batch_norm(features, mode))
        with tf.variable_scope("output"):
            return layers.dense(tf.reduce_mean(features, axis=[1, 2]), classes, kernels)


def _block(inputs, width, stride, kernels, mode):
    """BN-ReLU-conv-BN-ReLU-dropout-conv plus a shortcut, which is a 1x1 projection where the shape changes.

    The projection is applied to the first BN-ReLU's output, not to the block's input.
    """
    with tf.variable_scope("layer1_in_block"):
        activated = _activate(inputs, mode)
        with tf.variable_scope("conv"):
            features = layers.conv2d(activated, width, 3, kernels, stride)
    with tf.variable_scope("layer2_in_block"):
        features = layers.dropout(_activate(features, mode), mode)
        with tf.variable_scope("conv"):
            features = layers.conv2d(features, width, 3, kernels)
    if stride == 1 and inputs.shape[-1] == width:
        return features + inputs
    with tf.variable_scope("projection"):
        return features + layers.conv2d(activated, width, 1, kernels, stride, place=Place.PLAIN)


def _activate(inputs, mode):
    with tf.variable_scope("batch_norm"):
        return tf.nn.relu(layers.batch_norm(inputs, mode))
