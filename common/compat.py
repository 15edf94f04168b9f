"""The compat layer: the one file that imports TensorFlow.

Everything else writes `from common.compat import tf` and gets the TensorFlow 1 interface of TensorFlow 2: graphs and
sessions. Variables are resource variables, as TensorFlow 2 makes them, unless the program that imports this has called
`tf.disable_v2_behavior()`. Importing this file turns eager execution off.
"""

import contextlib
import os
import sys
import tempfile

# Warnings of the C++ side where they can help: with an NVIDIA driver they name what keeps a GPU from being used.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if os.path.exists("/dev/nvidiactl") else "3")


@contextlib.contextmanager
def _quiet():
    """Holds back what the C++ side prints before its own log level is read; shows it if the import fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


with _quiet():
    import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
# Full float32 products on GPUs too: TensorFloat-32 has ten bits, and no map is orthogonal to 1e-4 with that.
tf.config.experimental.enable_tensor_float_32_execution(False)
tf.logging.set_verbosity(tf.logging.ERROR)

__all__ = ["tf"]
