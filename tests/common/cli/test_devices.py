"""Choice of devices on a machine without a GPU."""

import subprocess
import sys

import pytest

from common.cli import devices
from common.compat import tf

pytestmark = pytest.mark.skipif(bool(tf.config.experimental.list_physical_devices("GPU")), reason="there is a GPU here")


def test_one_replica_is_placed_by_tensorflow():
    chosen = devices.choose("auto", 1)
    assert chosen.names == (None,) and chosen.warning is None and chosen.description.startswith("CPU")


def test_several_replicas_without_a_gpu_are_virtual_and_said_loudly():
    chosen = devices.choose("auto", 2)
    assert chosen.names == ("/cpu:0", "/cpu:1")
    assert "THERE IS NO GPU HERE" in chosen.warning
    with chosen.session() as session:
        assert sum(device.device_type == "CPU" for device in session.list_devices()) == 2


def test_the_cpu_asked_for_is_not_called_a_missing_gpu():
    assert "--device=cpu" in devices.choose("cpu", 2).warning


def test_a_gpu_that_is_not_there_is_an_error_if_insisted_on():
    with pytest.raises(ValueError, match="--device=gpu: TensorFlow finds no GPU here"):
        devices.choose("gpu", 1)


def test_initial_values_are_not_kept_as_constants_of_the_open_session():
    """An orthogonal matrix that starts at random would be in memory several times, for as long as the session is."""
    with tf.Graph().as_default(), devices.choose("cpu").session() as session:
        tf.get_variable("start", initializer=0.5 * tf.random.stateless_normal([64, 64], [1, 2]))
        options, seen = tf.RunOptions(output_partition_graphs=True), tf.RunMetadata()
        session.run(tf.global_variables_initializer(), options=options, run_metadata=seen)
    constants = [node for graph in seen.partition_graphs for node in graph.node if node.op == "Const"]
    assert constants and max(node.ByteSize() for node in constants) < 64 * 64


def test_flags_are_read_before_anything_asks_for_gpus():
    """Whoever asks first fixes which GPUs are visible, and a driver once started is of no use to forked children.

    absl's app.run makes TensorFlow ask, by a call that TensorFlow leaves with absl when it is imported.
    """
    lines = (
        "from common.compat import tf",
        "import dataclasses",
        "from common import flags",
        "from common.command import main",
        "from tensorflow.python.eager import context",
        "Settings = dataclasses.make_dataclass('Settings', [], bases=(flags.Checked,), frozen=True)",
        "main(Settings, lambda *words: int(context.context()._physical_devices is not None))",
    )
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)]).returncode == 0


def test_the_cpu_is_what_a_session_sees_if_it_is_asked_for():
    assert devices.choose("cpu").config().device_count["GPU"] == 0
