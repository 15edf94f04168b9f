"""Pictures made of arrays: grids of small ones, and PNG files through TensorFlow's own encoder."""

import numpy as np

from common.compat import tf

CHANNELS = (1, 3)  # grey, or red, green and blue


def grid(pictures, border, factor):
    """Returns uint8 [height, width, channels]: pictures side by side, in about as many rows as columns.

    Args:
      pictures: uint8 [count, height, width, channels], count at least 1, channels 1 or 3.
      border: black pixels round each picture.
      factor: how many times as high and as wide each picture is drawn.

    They stand in the order of reading; places that are left over are black. Raises ValueError for other channels.
    """
    count, height, width, channels = pictures.shape
    if channels not in CHANNELS:
        raise ValueError(f"a picture has 1 or 3 channels (grey, or red, green and blue), not {channels}")
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    down, across = factor * height + border, factor * width + border
    canvas = np.zeros([rows * down + border, columns * across + border, channels], np.uint8)
    for number, picture in enumerate(pictures):
        top, left = border + number // columns * down, border + number % columns * across
        large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        canvas[top : top + factor * height, left : left + factor * width] = large
    return canvas


def shades(values, largest):
    """Returns uint8 of the shape of `values`: -largest is 0, 0 is the middle, 128, and largest is 255."""
    scaled = np.asarray(values, np.float64) / max(float(largest), np.finfo(np.float64).tiny)
    return np.floor(np.clip(127.5 + 127.5 * scaled, 0.0, 255.0) + 0.5).astype(np.uint8)


def png(picture):
    """Returns uint8 [height, width, channels] as the bytes of a PNG file."""
    with tf.Graph().as_default(), tf.device("/cpu:0"):  # the graph of a training is closed by then
        encoded = tf.image.encode_png(picture)
        with tf.Session(config=tf.ConfigProto(device_count={"GPU": 0})) as session:
            return session.run(encoded)
