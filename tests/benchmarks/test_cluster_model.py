"""The model on paper against figures worked out by hand, and the counts of operations of a graph of known size."""

import pytest

from benchmarks import cluster_model as model
from benchmarks import cluster_tables as tables
from common.cluster import Cluster
from common.compat import tf
from common.replicas import Replica


def test_an_exchange_is_its_bytes_round_the_ring_and_the_latency_of_every_hop():
    # 8 GPUs: each passes 7/8 of 80 MB on twice, 140 MB at 1 GB/s; 14 hops of 1 ms, three times.
    assert model.exchange(80e6, 8, 1e9, 1e-3, 3) == pytest.approx(0.140 + 0.042)
    assert model.exchange(80e6, 8, 1e9, 1e-3, 3, model.tree) == pytest.approx(0.140 + 3 * 6e-3)  # three levels, twice
    assert model.exchange(80e6, 1, 1e9, 1e-3, 3) == 0.0


def test_efficiency_is_the_share_of_time_that_computes():
    assert model.efficiency(0.182, 80e6, 8, 1e9, 1e-3, 3) == pytest.approx(0.5)
    assert model.efficiency(0.182, 80e6, 1, 1e9, 1e-3, 3) == 1.0
    assert model.step_seconds(26.8e12, "float32") == pytest.approx(1.0)  # 40 % of 67 TFLOP/s


def test_rings_beyond_a_node_go_through_the_slower_link():
    assert (model.link(8), model.link(9)) == (model.WITHIN_NODE, model.BETWEEN_NODES)


def test_operations_of_a_convolution_and_a_product_with_their_gradients():
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, [2, 6, 6, 3])
        kernel, matrix = tf.Variable(tf.ones([3, 3, 3, 5])), tf.Variable(tf.ones([5, 7]))
        features = tf.nn.conv2d(images, kernel, strides=2, padding="SAME")  # [2, 3, 3, 5]
        logits = tf.matmul(tf.reduce_mean(features, [1, 2]), matrix)
        forward = 2 * (2 * 3 * 3 * 5) * (3 * 3 * 3) + 2 * (2 * 7) * 5
        assert model.operations(logits.op) == forward
        # Of the kernel, not of the images, though TensorFlow makes a node for it; of the matrix and what it multiplies.
        step = tf.group(logits, tf.gradients(logits, [kernel, matrix]))
        assert model.operations(step) == 2 * forward + 2 * (2 * 7) * 5


def test_collectives_are_counted_with_their_sizes():
    with tf.Graph().as_default() as graph:
        replica = Replica(0, 2, range(1))
        replica.mean_of_all([tf.ones([3, 4]), tf.ones([])])
        tf.gradients(replica.mean(tf.ones([5]) * tf.ones([])), [tf.ones([5])])
        assert model.collectives(graph) == [13, 5]


def test_a_row_of_the_table_is_the_model_s():
    row = {"kind": "model", "case": "x", "operations": 2.68e12, "numbers": 1_100_000, "largest": 1_000_000, "collectives": 5}
    line = tables.predicted(row, "float32")
    assert (line["giga"], line["milliseconds"], line["megabytes"]) == pytest.approx((2680, 100, 4.4))
    wire = 2 * 63 / 64 * 4.4e6 / 50e9
    assert line["ring 64"] == pytest.approx(0.1 / (0.1 + wire + 5 * 126 * 5e-6))
    assert line["tree 64"] == pytest.approx(0.1 / (0.1 + wire + 5 * 12 * 5e-6))
    assert line["no sync_bn 64"] == pytest.approx(0.1 / (0.1 + 2 * 63 / 64 * 4e6 / 50e9 + 126 * 5e-6))
