"""VGG with batch normalization for small images (Cho & Lee, NIPS 2017, section 5)."""

from common.compat import tf
from common.nn import layers
from common.nn.kernels import Place

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
HIDDEN = 512


def check_sides(height, width):
    """Raises ValueError for images of which five times halving leaves nothing."""
    if min(height, width) < 2 ** len(WIDTHS):
        raise ValueError(f"VGG halves its images five times: they need 32 x 32 pixels or more, not {height} x {width}")


def vgg(images, classes, kernels, mode, depth):
    """Returns logits [batch, classes] of VGG-`depth`: 11, 13, 16 or 19.

    Five groups of 3x3 convs, each conv with BN (no gamma) and ReLU, each group with max-pool and dropout after it; two
    fully connected layers of 512 with BN (no gamma) and ReLU; the classes, with bias.
    Raises ValueError for images below 32 x 32.
    """
    check_sides(*images.shape[1:3])
    features = images
    for group, (width, convs) in enumerate(zip(WIDTHS, DEPTHS[depth])):
        for index in range(convs):
            with tf.variable_scope(f"GROUP{group}_{index}"):
                with tf.variable_scope("conv"):
                    place = Place.FIRST if features is images else Place.INNER
                    features = layers.conv2d(features, width, 3, kernels, place=place)
                with tf.variable_scope("batch_norm"):
                    features = tf.nn.relu(layers.batch_norm(features, mode, scale=False))
        with tf.variable_scope(f"GROUP{group}"):
            features = layers.dropout(layers.max_pool(features), mode)
    features = tf.reshape(features, [-1, features.shape[1:].num_elements()])
    for index in range(2):
        with tf.variable_scope(f"fc{index}"):
            features = layers.dense(features, HIDDEN, kernels, bias=None)
            features = tf.nn.relu(layers.batch_norm(features, mode, scale=False))
    with tf.variable_scope("fc2"):
        return layers.dense(features, classes, kernels)
