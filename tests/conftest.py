"""Every test builds its own graph."""

import pytest

from common.compat import tf


@pytest.fixture(autouse=True)
def graph():
    """A fresh default graph with seed 0."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        yield graph
