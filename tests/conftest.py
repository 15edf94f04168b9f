"""Every test builds its own graph. Programs that tests start hear Ctrl-C, also where a script has put pytest behind."""

import signal

import pytest

from common.compat import tf

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; what is ignored is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def graph():
    """A fresh default graph with seed 0."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        yield graph
