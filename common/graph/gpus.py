"""What maps have to know about the GPU they run on: which of their methods is the fastest depends on it."""

from common.compat import tf

# Compute capabilities of GPUs that do a third or half as many operations a second in float64 as in float32: P100, V100,
# A100, H100 and H200, B200. Others do a 32nd or 64th.
_FAST_IN_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}


def in_use():
    """Whether this process runs on a GPU. Ask when a graph is built, not before: it starts the GPU's driver."""
    return bool(tf.config.list_physical_devices("GPU"))


def fast_in_float64():
    """Whether it does, and all its GPUs are fast in float64."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(tuple(one.get("compute_capability", ())) in _FAST_IN_FLOAT64 for one in details)
