"""Pictures against arrays written out by hand."""

import numpy as np
import pytest

from common.compat import tf
from common.runs import pictures


def test_a_grid_has_borders_and_whole_enlarged_pictures():
    first, second, third = np.array([[1, 2]]), np.array([[3, 4]]), np.array([[5, 6]])
    drawn = pictures.grid(np.stack([first, second, third])[..., None].astype(np.uint8), border=1, factor=2)
    expected = [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 2, 2, 0, 3, 3, 4, 4, 0],
        [0, 1, 1, 2, 2, 0, 3, 3, 4, 4, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 5, 5, 6, 6, 0, 0, 0, 0, 0, 0],
        [0, 5, 5, 6, 6, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(drawn[..., 0], expected)
    assert drawn.dtype == np.uint8


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels .* not 4"):
        pictures.grid(np.zeros([2, 3, 3, 4], np.uint8), border=1, factor=1)


def test_shades_are_symmetric_about_the_middle():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(pictures.shades(values, 2.0), [0, 64, 128, 191, 255, 255])
    np.testing.assert_array_equal(pictures.shades(np.zeros(2), 0.0), [128, 128])


@pytest.mark.parametrize("channels", pictures.CHANNELS)
def test_a_png_is_the_picture(channels):
    picture = np.random.RandomState(0).randint(0, 256, [5, 7, channels]).astype(np.uint8)
    encoded = pictures.png(picture)
    assert encoded.startswith(b"\x89PNG\r\n\x1a\n")
    with tf.Session() as session:
        np.testing.assert_array_equal(session.run(tf.image.decode_png(encoded)), picture)
