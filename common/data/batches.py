"""The batch of a step, inside the graph: a pure function of (seed, step) and the stored images.

Position p = step * B + j of the endless stream of training images lies in epoch p // N, and its image is
`RandomIndexShuffle(p % N; seed, epoch)`, a pseudorandom permutation evaluated at one point: every epoch visits every
image exactly once, whatever N and B are, and no state is kept between steps. Crops and flips come from a stateless
generator keyed by (seed, step). Random numbers are drawn for the whole batch, and a replica takes its rows of it.
"""

import dataclasses

import numpy as np

from common.compat import tf

# Added to an epoch or a step (both far below 2^40): sets these random numbers apart from each other and from those
# that others draw from the same seed and step, dropout for one.
_SHUFFLE = 0x5AFE << 40
_AUGMENTATION = 0xDA7A << 40


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """What happens to an image between the data set and the network.

    Attributes:
      offset, scale: a number, or one for each channel: a value x becomes (x - offset) / scale.
      padding: pixels added on each side of a training image by reflection, before the crop.
      reflection: "symmetric" repeats the edge pixel (b a | a b c), "reflect" does not (c b | a b c).
      crop_size: height and width of what the network sees. A training image is cropped at a random place, a test image
        at its centre.
      mirror: flip a training image left to right with probability 1/2.

    With padding 0, crop_size the size of the images and no mirror, training images are only normalised.
    """

    offset: object = 0.0
    scale: object = 1.0
    padding: int = 0
    reflection: str = "symmetric"
    crop_size: int = 32
    mirror: bool = False

    def __str__(self):
        """What becomes of a training image, for a log."""
        edge = "repeated" if self.reflection == "symmetric" else "not repeated"
        padded = f"padded by {self.padding} (reflected, edge pixel {edge}), " if self.padding else ""
        return f"{padded}cropped to {self.crop_size} x {self.crop_size}, {'' if self.mirror else 'not '}mirrored"


def indices(step, batch_size, size, seed, first=0, count=None):
    """Returns which images the batch of `step` consists of, int64 [count].

    Args:
      step: number of the step, an integer or an integer tensor.
      batch_size: B, the images of the whole batch.
      size: N, the images of the training set.
      seed: the run's seed, an integer.
      first, count: the rows of the batch wanted: first .. first + count - 1; all from `first` on if count is None.
    """
    count = batch_size - first if count is None else count
    with tf.device("/cpu:0"):  # the shuffle has no GPU kernel
        start = tf.cast(step, tf.int64) * batch_size
        positions = start + np.arange(first, first + count, dtype=np.int64)
        # Its permutation depends on the low 8 bits or so of each of three words (tried: with the epoch as a word, every
        # 256th epoch is the same). So the words are random numbers drawn from (seed, epoch), for the two epochs at
        # most that a batch can touch.
        epoch = start // size
        words = tf.stack([_random_bits([3], seed, epoch + _SHUFFLE), _random_bits([3], seed, epoch + 1 + _SHUFFLE)])
        return tf.raw_ops.RandomIndexShuffle(
            index=positions % size,
            seed=tf.gather(words, positions // size - epoch),
            max_index=tf.constant(size - 1, tf.int64),
            rounds=8,  # with the usual 4, neighbours among 600,000 images stay visibly related
        )


def draws(step, batch_size, seed, limits):
    """Returns random integers int64 [len(limits), batch_size] for the batch of `step`, row i below limits[i]."""
    with tf.device("/cpu:0"):
        # 32 random bits modulo a limit of some hundreds: uneven by less than 1 in 10^6, and one draw serves all limits.
        bits = _random_bits([len(limits), batch_size], seed, tf.cast(step, tf.int64) + _AUGMENTATION)
        return bits % np.array(limits, np.int64)[:, None]


def _random_bits(shape, seed, counter):
    """Returns random integers below 2^32, int64 of `shape`, that follow from `seed` and the int64 tensor `counter`."""
    key = tf.stack([tf.constant(seed, tf.int64), counter])
    return tf.cast(tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.uint32), tf.int64)


def training_batch(store, step, batch_size, seed, pipeline, dtype=tf.float32, first=0, count=None):
    """Returns the images and labels of the training batch of `step`, or of some of its rows.

    Args:
      store: a `Store` with the training images.
      step, batch_size, seed, first, count: as for `indices`. Rows are those of the whole batch, augmentation included.
      pipeline: a `Pipeline`.
      dtype: tf.float32 or tf.float64.

    Returns (images `dtype` [count, crop_size, crop_size, channels], labels int32 [count]).
    Raises ValueError if the batch or the pipeline does not go with the images.
    """
    count = batch_size - first if count is None else count
    check_size(batch_size, store.size)
    images, labels = _read(store, indices(step, batch_size, store.size, seed, first, count), pipeline, dtype)
    height, width, channels = store.shape
    limits = augmentation_limits(pipeline, store.shape)
    if limits == (1, 1, 1):
        return images, labels
    drawn = draws(step, batch_size, seed, limits)
    drawn = drawn[:, first : first + count] if count < batch_size else drawn
    top, left, flip = tf.unstack(tf.expand_dims(drawn, -1))
    across = np.arange(pipeline.crop_size, dtype=np.int64)
    rows = tf.gather(_reflected(height, pipeline) * width, top + across)
    columns = tf.gather(_reflected(width, pipeline), left + across + flip * (across[-1] - 2 * across))
    # One gather of single pixels does padding, crop and flip. Its indices are int64 because a GPU computes with those
    # itself, while TensorFlow leaves int32 to the CPU.
    lines = np.arange(count, dtype=np.int64)[:, None] * (height * width) + rows
    pixels = tf.expand_dims(lines, 2) + tf.expand_dims(columns, 1)
    return tf.gather(tf.reshape(images, [count * height * width, channels]), pixels), labels


def check_size(batch_size, images):
    """Raises ValueError if there are fewer training images than a batch has."""
    if not 1 <= batch_size <= images:
        raise ValueError(f"--batch_size={batch_size}: expected 1 .. {images}, the number of training images")


def augmentation_limits(pipeline, shape):
    """Returns of how many values each is drawn: first row of the crop, first column, flip. (1, 1, 1): nothing is."""
    room = 2 * pipeline.padding - pipeline.crop_size + 1
    return shape[0] + room, shape[1] + room, 2 if pipeline.mirror else 1


def evaluation_batch(store, index, batch_size, pipeline, dtype=tf.float32):
    """Returns images, labels and weights of the batch number `index` of a pass over all images in their order.

    Every batch has `batch_size` rows; the last one is filled up with rows of weight 0 (repeats of the last image), all
    other weights are 1. So sums weighted by them, over ceil(size / batch_size) batches, are sums over all images.

    Args:
      store: a `Store`.
      index: number of the batch, an integer or an integer tensor.
      batch_size: rows of a batch; may exceed the number of images.
      pipeline: a `Pipeline`; of it, normalisation and the centre crop are applied.
      dtype: tf.float32 or tf.float64.

    Returns (images `dtype` [batch_size, crop_size, crop_size, channels], labels int32 [batch_size], weights `dtype`
    [batch_size]). Raises ValueError if the pipeline does not go with the images.
    """
    positions = tf.cast(index, tf.int64) * batch_size + np.arange(batch_size, dtype=np.int64)
    images, labels = _read(store, tf.minimum(positions, np.int64(store.size - 1)), pipeline, dtype)
    return _centre(images, pipeline), labels, tf.cast(positions < store.size, dtype)


def inputs_of(images, pipeline, dtype=tf.float32):
    """Returns uint8 images [batch, height, width, channels] of any source as evaluation gives them to a network.

    That is normalised and cut to the centre, `dtype` [batch, crop_size, crop_size, channels]; the batch may be of
    unknown size. Raises ValueError if the pipeline does not go with the images.
    """
    shape = images.shape.as_list()[1:]
    return _centre(_normalised(images, shape, pipeline, dtype), pipeline)


def _centre(images, pipeline):
    """Returns the middle of each image, crop_size x crop_size."""
    size = pipeline.crop_size
    height, width = images.shape.as_list()[1:3]
    if (height, width) == (size, size):
        return images
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, top : top + size, left : left + size]


def _check(pipeline, shape):
    """Raises ValueError unless images of `shape` can go through `pipeline`."""
    height, width, _ = shape
    smallest = min(height, width)
    most = smallest if pipeline.reflection == "symmetric" else smallest - 1
    if pipeline.crop_size > smallest:
        raise ValueError(f"crop_size is {pipeline.crop_size}, expected at most {smallest}, the size of the images")
    if pipeline.padding > most:
        raise ValueError(f"padding is {pipeline.padding}, expected at most {most} for images of {height} x {width}")


def _read(store, chosen, pipeline, dtype):
    """Returns the normalised images and the labels of the index tensor `chosen`.

    Images turn into floats straight after they are read: a GPU reads a uint8 variable by index, but has no kernel to
    take a uint8 tensor apart.
    """
    images = _normalised(tf.gather(store.images, chosen), store.shape, pipeline, dtype)
    labels = tf.cast(tf.gather(store.labels, chosen), tf.int32)
    return images, labels


def _normalised(images, shape, pipeline, dtype):
    """Returns (images - offset) / scale as `dtype`; `shape` is that of one uint8 image."""
    _check(pipeline, shape)
    height, width, channels = shape
    # One constant for a whole image: arithmetic along an axis of three is twice as slow on a CPU. The reciprocal is
    # taken here because TensorFlow's own, put in place of a division by a constant, is inexact even for powers of two.
    spread = [height * width * channels]
    offset = np.broadcast_to(pipeline.offset, [height * width, channels]).reshape(spread)
    factor = np.broadcast_to(1.0 / np.asarray(pipeline.scale, np.float64), [height * width, channels]).reshape(spread)
    images = tf.reshape(tf.cast(images, dtype), [-1, *spread])
    images = (images - tf.constant(offset, dtype)) * tf.constant(factor, dtype)
    return tf.reshape(images, [-1, height, width, channels])


def _reflected(size, pipeline):
    """Returns which pixel of a line of `size` stands at each place of the padded line, int64 [size + 2 * padding]."""
    return np.pad(np.arange(size, dtype=np.int64), pipeline.padding, mode=pipeline.reflection)
