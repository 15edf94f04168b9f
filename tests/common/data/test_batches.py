"""The batch of a step against NumPy, and what must hold of the stream of batches."""

import numpy as np
import pytest

from common.compat import tf
from common.data import batches
from common.data.batches import Pipeline
from common.data.store import store


def made_up(size, height=8, width=8, channels=3, seed=0):
    """Random images, each recognisable by its label: the label is its number."""
    images = np.random.RandomState(seed).randint(0, 256, (size, height, width, channels)).astype(np.uint8)
    return images, np.arange(size, dtype=np.int32)


def expected(images, chosen, top, left, flip, pipeline):
    """The batch by numpy.pad, slicing and arithmetic in float64."""
    result = []
    for number, row, column, mirrored in zip(chosen, top, left, flip):
        padding = [(pipeline.padding,) * 2] * 2 + [(0, 0)]
        padded = np.pad(images[number].astype(np.float64), padding, mode=pipeline.reflection)
        crop = padded[row : row + pipeline.crop_size, column : column + pipeline.crop_size]
        result.append(crop[:, ::-1] if mirrored else crop)
    return (np.array(result) - np.array(pipeline.offset)) / np.array(pipeline.scale)


PIPELINES = [
    Pipeline(127.5, 128.0, 2, "symmetric", 8, True),
    Pipeline((120.0, 130.0, 110.0), (60.0, 70.0, 80.0), 2, "reflect", 8, True),
    Pipeline(0.0, 255.0, 0, "symmetric", 5, False),
    Pipeline((1.0,), (2.0,), 3, "symmetric", 6, False),
    Pipeline(0.0, 255.0, 0, "symmetric", 8, True),
    Pipeline(0.0, 255.0, 0, "symmetric", 8, False),
]


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_batch_is_pad_crop_flip_and_normalisation(dtype):
    images, labels = made_up(50, 8, 8)
    stored = store(images, labels, "data")
    fetched = []
    for pipeline in PIPELINES:
        batch = batches.training_batch(stored, 7, 20, 3, pipeline, dtype)
        limits = batches.augmentation_limits(pipeline, stored.shape)
        fetched.append((batch, batches.indices(7, 20, 50, 3), batches.draws(7, 20, 3, limits)))
    with tf.Session() as session:
        stored.fill(session)
        values = session.run(fetched)
    for pipeline, ((batch, batch_labels), chosen, drawn) in zip(PIPELINES, values):
        assert batch.dtype == dtype.as_numpy_dtype and batch_labels.dtype == np.int32
        np.testing.assert_array_equal(batch_labels, labels[chosen])
        rounding = 0.0 if pipeline.scale == 128.0 else 2e-6  # a power of two is exact
        np.testing.assert_allclose(batch, expected(images, chosen, *drawn, pipeline), rtol=rounding, atol=rounding / 2)


def test_images_that_are_not_square_with_one_channel():
    images, labels = made_up(9, 6, 10, 1)
    stored = store(images, labels, "data")
    pipeline = Pipeline(3.0, 2.0, 1, "reflect", 6, True)
    limits = batches.augmentation_limits(pipeline, stored.shape)
    assert limits == (3, 7, 2)
    training = batches.training_batch(stored, 2, 9, 0, pipeline, tf.float64)[0]
    evaluation = batches.evaluation_batch(stored, 0, 9, pipeline, tf.float64)[0]
    with tf.Session() as session:
        stored.fill(session)
        batch, chosen, drawn, whole = session.run(
            [training, batches.indices(2, 9, 9, 0), batches.draws(2, 9, 0, limits), evaluation]
        )
    np.testing.assert_allclose(batch, expected(images, chosen, *drawn, pipeline), atol=1e-12)
    np.testing.assert_allclose(whole, (images[:, :, 2:8] - 3.0) / 2.0, atol=1e-12)


def test_every_epoch_visits_every_image_once():
    cases = [(1, 1), (2, 1), (2, 2), (3, 2), (7, 3), (10, 10), (37, 8), (300, 128)]
    epochs = 3
    fetched = []
    for size, batch_size in cases:
        steps = np.arange(-(-epochs * size // batch_size))
        fetched.append([batches.indices(tf.constant(step, tf.int32), batch_size, size, 11) for step in steps])
    with tf.Session() as session:
        values = session.run(fetched)
    for (size, _), chosen in zip(cases, values):
        stream = np.concatenate(chosen)[: epochs * size].reshape(epochs, size)
        np.testing.assert_array_equal(np.sort(stream, axis=1), np.tile(np.arange(size), (epochs, 1)))
        if size > 10:
            assert len({tuple(epoch) for epoch in stream}) == epochs


def test_orders_of_epochs_and_seeds_are_all_different_and_even():
    """256 epochs apart, and seeds 2^32 apart, too: the shuffle itself would repeat there."""
    size, epochs = 40, 260
    step = tf.placeholder(tf.int64, [])
    seeds = (0, 1, 256, 1 << 32)
    fetch = [batches.indices(step, size, size, seed) for seed in seeds]
    with tf.Session() as session:
        orders = np.array([session.run(fetch, {step: epoch}) for epoch in range(epochs)])
    distinct = len({tuple(order) for order in orders.reshape(-1, size)})
    assert distinct >= epochs * len(seeds) - 3  # 2^24 permutations: one or two coincidences may happen
    first = np.bincount(orders[:, :, 0].ravel(), minlength=size)
    even = epochs * len(seeds) / size
    assert ((first - even) ** 2 / even).sum() < 80  # 39 degrees of freedom: 1 in 10,000 is above


def test_neighbours_of_a_large_set_end_up_unrelated():
    size, batch_size = 604388, 20000
    with tf.Session() as session:
        chosen = session.run(batches.indices(0, batch_size, size, 0))
    gaps = np.histogram(np.diff(chosen) % size, bins=20, range=(0, size))[0]
    even = (batch_size - 1) / 20
    assert ((gaps - even) ** 2 / even).sum() < 60  # 19 degrees of freedom


def test_batch_follows_from_seed_and_step_alone():
    images, labels = made_up(30)
    pipeline = Pipeline(0.0, 255.0, 2, "symmetric", 8, True)

    def run(seed, steps):
        with tf.Graph().as_default(), tf.Session() as session:
            stored = store(images, labels, "data")
            step = tf.placeholder(tf.int64, [])
            batch = batches.training_batch(stored, step, 20, seed, pipeline)
            stored.fill(session)
            return [session.run(batch, {step: number}) for number in steps]

    forth, back, other = run(5, [0, 1, 2]), run(5, [2, 1, 0]), run(6, [0, 1, 2])
    for one, two, three in zip(forth, back[::-1], other):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert np.any(one[1] != three[1]) and np.any(one[0] != three[0])
    assert np.any(forth[0][1] != forth[1][1])


def test_slices_of_replicas_are_rows_of_the_whole_batch():
    images, labels = made_up(20)
    stored = store(images, labels, "data")
    pipeline = Pipeline(0.0, 255.0, 2, "symmetric", 8, True)
    whole = batches.training_batch(stored, 4, 12, 9, pipeline)
    parts = [batches.training_batch(stored, 4, 12, 9, pipeline, first=first, count=3) for first in (0, 3, 6)]
    parts.append(batches.training_batch(stored, 4, 12, 9, pipeline, first=9))
    with tf.Session() as session:
        stored.fill(session)
        whole, parts = session.run([whole, parts])
    np.testing.assert_array_equal(whole[0], np.concatenate([part[0] for part in parts]))
    np.testing.assert_array_equal(whole[1], np.concatenate([part[1] for part in parts]))


def test_draws_are_even():
    with tf.Session() as session:
        top, left, flip = session.run(batches.draws(3, 9000, 0, (9, 1, 2)))
    assert np.all(left == 0)
    for values, limit in ((top, 9), (flip, 2)):
        counts = np.bincount(values, minlength=limit)
        assert len(counts) == limit and np.all(np.abs(counts - 9000 / limit) < 5 * np.sqrt(9000 / limit))


def test_plain_pipeline_makes_no_augmentation_operations(graph):
    images, labels = made_up(10)
    batches.training_batch(store(images, labels, "data"), 0, 4, 0, Pipeline(crop_size=8))
    drawing = [op for op in graph.get_operations() if op.type == "StatelessRandomUniformFullIntV2"]
    assert len(drawing) == 2  # the two epochs' keys of the shuffle


def test_images_are_read_by_index_and_never_as_a_whole(graph):
    stored = store(*made_up(10), "data")
    batches.training_batch(stored, 0, 4, 0, Pipeline(padding=2, crop_size=8, mirror=True))
    batches.evaluation_batch(stored, 0, 4, Pipeline(crop_size=8))
    read = [op.type for op in graph.get_operations() if "data/images" in "".join(put.name for put in op.inputs)]
    assert read.count("ResourceGather") == 2 and "Gather" not in read and "GatherV2" not in read


def test_evaluation_covers_all_images_in_order_and_weighs_the_rest_zero():
    images, labels = made_up(10)
    stored = store(images, labels, "data")
    pipeline = Pipeline(1.0, 4.0, 2, crop_size=8, mirror=True)
    fetched = [batches.evaluation_batch(stored, index, 4, pipeline) for index in range(3)]
    fetched.append(batches.evaluation_batch(stored, tf.constant(0, tf.int32), 25, Pipeline(crop_size=5), tf.float64))
    with tf.Session() as session:
        stored.fill(session)
        *parts, large = session.run(fetched)
    rows, numbers, weights = (np.concatenate([part[i] for part in parts]) for i in range(3))
    np.testing.assert_array_equal(weights, [1] * 10 + [0] * 2)
    np.testing.assert_array_equal(numbers[:10], labels)
    np.testing.assert_array_equal(rows[:10], ((images - 1.0) / 4.0).astype(np.float32))
    assert rows.dtype == weights.dtype == np.float32 and numbers.dtype == np.int32
    assert large[0].shape == (25, 5, 5, 3) and large[0].dtype == np.float64 and large[2].sum() == 10
    np.testing.assert_array_equal(large[0][:10], images[:, 1:6, 1:6])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(batch_size=11), "--batch_size=11: expected 1 .. 10"),
        (dict(batch_size=0), "--batch_size=0: expected 1"),
        (dict(pipeline=Pipeline(crop_size=9)), "crop_size is 9, expected at most 8"),
        (dict(pipeline=Pipeline(crop_size=8, padding=9)), "padding is 9, expected at most 8"),
        (dict(pipeline=Pipeline(crop_size=8, padding=8, reflection="reflect")), "padding is 8, expected at most 7"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments, message):
    stored = store(*made_up(10), "data")
    arguments = {"batch_size": 4, "seed": 0, "pipeline": Pipeline(crop_size=8), **arguments}
    with pytest.raises(ValueError, match=message) as raised:
        batches.training_batch(stored, 0, **arguments)
    assert "\n" not in str(raised.value)


def test_a_pipeline_says_what_it_does():
    for reflection, edge in ("symmetric", "repeated"), ("reflect", "not repeated"):
        padded = f"padded by 4 (reflected, edge pixel {edge}), cropped to 28 x 28, not mirrored"
        assert str(Pipeline(padding=4, reflection=reflection, crop_size=28)) == padded
    assert str(Pipeline(mirror=True)) == "cropped to 32 x 32, mirrored"
