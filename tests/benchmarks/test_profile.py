"""What is read off TensorFlow's record of a step: made up for a GPU, real on the CPU."""

from benchmarks import measure, profile
from common.cli import devices
from common.compat import tf


def _record(**devices):
    metadata = tf.RunMetadata()
    for name, nodes in devices.items():
        device = metadata.step_stats.dev_stats.add(device=name.replace("__", "/"))
        for node, label, micros in nodes:
            stats = device.node_stats.add(node_name=node, timeline_label=label)
            stats.all_end_rel_micros = stats.op_end_rel_micros = micros
    return metadata


def test_kernels_and_copies_of_a_gpu():
    cpu = [("shuffle", "shuffle = RandomIndexShuffle(index, seed)", 9), ("one", "one = Const()", 3)]
    gpu = [
        ("map/product", "map/product = MatMul(a, b)", 50),
        ("sum", "sum = AddV2(a, b)", 20),
        ("a", "a = Identity(v)", 1),
    ]
    stream = [("map/product:MatMul", "sgemm", 700), ("map/product:MatMul", "split", 100), ("sum:AddV2", "add", 200)]
    copies = [
        ("shuffle:_Send", "MemcpyH2D kind_src:pinned kind_dst:device size:2048 dest:0 async:1", 2),
        ("check:CheckNumerics", "MemcpyD2H kind_src:device kind_dst:pinned size:512 dest:0 async:1", 2),
        ("stack:Pack", "MemcpyD2D kind_src:device kind_dst:device size:4096 dest:0 async:1", 2),
    ]
    found = profile.of_step(
        _record(
            **{
                "__job:localhost__replica:0__task:0__device:CPU:0": cpu,
                "__job:localhost__replica:0__task:0__device:GPU:0": gpu,
                "__device:GPU:0__stream:all": stream,
                "__device:GPU:0__stream:13": stream,
                "__device:GPU:0__memcpy": copies,
            }
        )
    )
    assert (found["on_gpu"], found["on_cpu"]) == (2, 1)
    assert (found["kernels"], found["kernels_ms"]) == (3, 1.0)
    assert found["longest"] == "MatMul 0.80, AddV2 0.20"
    assert (found["to_gpu"], found["to_gpu_kib"], found["from_gpu"], found["from_gpu_kib"]) == (1, 2.0, 1, 0.5)


def test_operations_of_functions_count_on_the_cpu():
    @tf.function(experimental_attributes={"_noinline": True}, autograph=False)
    def chain(x):
        for _ in range(5):
            x = tf.matmul(x, x)
        return x

    with devices.choose("cpu").session() as session:  # which folds no constants
        metadata = measure.traced(session, chain(tf.random.stateless_uniform([4, 4], [1, 2])))
    found = profile.of_step(metadata)
    assert found["on_gpu"] == 0 and found["on_cpu"] == found["kernels"] >= 6
    assert "MatMul" in found["longest"] and found["kernels_ms"] > 0
