"""Images on the device: filled in slices, never saved, never trained."""

import numpy as np

from common.compat import tf
from common.data import store as store_file
from common.data.store import store
from common.graph import variables
from common.graph.variables import Role


def test_fill_writes_every_row_whatever_the_slice(monkeypatch):
    images = np.random.RandomState(0).randint(0, 256, (11, 4, 5, 3)).astype(np.uint8)
    labels = np.arange(11, dtype=np.int32)
    stored = store(images, labels, "data")
    assert stored.size == 11 and stored.shape == (4, 5, 3)
    with tf.Session() as session:
        for block in (1, 60, 180, 1 << 20):
            monkeypatch.setattr(store_file, "_BLOCK_BYTES", block)
            stored.fill(session)
            got_images, got_labels = session.run([stored.images.read_value(), stored.labels.read_value()])
            np.testing.assert_array_equal(got_images, images)
            np.testing.assert_array_equal(got_labels, labels)


def test_variables_are_data_and_the_graph_holds_no_pixels(graph):
    images = np.zeros([1000, 32, 32, 3], np.uint8)
    stored = store(images, np.zeros(1000, np.int32), "train")
    assert stored.images.op.name == "train/images" and stored.labels.op.name == "train/labels"
    assert variables.with_role(Role.DATA) == [stored.images, stored.labels]
    assert variables.saved() == [] and variables.trainable() == []
    assert graph.as_graph_def().ByteSize() < 20000


def test_each_replica_has_its_own():
    arrays = np.zeros([2, 4, 4, 3], np.uint8), np.zeros(2, np.int32)
    store(*arrays, "data")
    with variables.replica_scope(1):
        copy = store(*arrays, "data")
    assert copy.images.op.name == "replica_1/data/images"
    assert len(variables.with_role(Role.DATA, replica=1)) == 2
