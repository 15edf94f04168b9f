"""Every test builds its own graph."""

import pytest

from common.cli import start
from common.compat import tf

for module in start.train_modules().values():  # until all tests call `method` themselves
    module.METHOD = module.method()


@pytest.fixture(autouse=True)
def graph():
    """A fresh default graph with seed 0."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        yield graph
