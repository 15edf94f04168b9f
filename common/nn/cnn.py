"""The plain convolutional networks of OPT: CNN-6 and CNN-9 (Liu et al., CVPR 2021, appendix)."""

from common.compat import tf
from common.nn import layers
from common.nn.kernels import Place

CNN6_WIDTHS = (64, 64, 64, 64)
CNN9_WIDTHS = (64, 128, 256, 256)


def cnn(images, classes, kernels, mode, widths, convs_per_stage):
    """Returns logits [batch, classes] of three stages of 3x3 convs, each followed by a 2x2 max-pool.

    Every conv has BN and ReLU. A VALID conv over all that is left (4x4 for images of 32x32 or 28x28), "fc6", has
    neither; a 1x1 conv with ordinary weights, "score", gives the classes.

    Args:
      images: [batch, side, side, channels].
      classes: number of classes.
      kernels: `kernels(layer) -> tensor` (see kernels.given).
      mode: a `layers.Mode`.
      widths: filters of the three stages and of fc6.
      convs_per_stage: 2 for CNN-6, 3 for CNN-9.
    """
    features = images
    for stage, width in enumerate(widths[:3], start=1):
        for index in range(convs_per_stage):
            with tf.variable_scope(f"conv{stage}_{index}"):
                place = Place.FIRST if features is images else Place.INNER
                features = layers.conv2d(features, width, 3, kernels, place=place)
                with tf.variable_scope("bn"):
                    features = tf.nn.relu(layers.batch_norm(features, mode))
        features = layers.max_pool(features, "SAME")
    with tf.variable_scope("fc6"):
        features = layers.conv2d(features, widths[3], int(features.shape[1]), kernels, padding="VALID")
    with tf.variable_scope("score"):
        scores = layers.conv2d(features, classes, 1, kernels, place=Place.PLAIN, name="filter")
    return tf.reshape(scores, [-1, classes])
