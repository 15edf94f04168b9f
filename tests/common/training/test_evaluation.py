"""Evaluation against NumPy, and that it computes each kernel once."""

import collections
import dataclasses

import numpy as np
import pytest

from common.compat import tf
from common.data import synthetic
from common.data.batches import Pipeline
from common.graph import initializers, variables
from common.nn import kernels, losses
from common.nn.layers import BatchNormConstants
from common.nn.networks import network
from common.runs.checkpoints import assign
from common.training.evaluation import Evaluation, Metrics
from common.training.problem import Problem
from opt_gs.gram_schmidt import gram_schmidt
from tests import runs

IMAGES = 37


def doubled(generator, weights):
    return 2.0 * generator @ weights


def problem_of(vali_batch_size, kernel=kernels.rotated(doubled, start=initializers.identity)):
    return Problem(
        dataset=synthetic.load(8, IMAGES),
        pipeline=Pipeline(offset=127.5, scale=128.0),
        network=network("cnn6", widths=(3, 3, 3, 3)),
        factory_of=kernels.by_place(kernel),
        batch_norm=BatchNormConstants(0.9, 1e-3, True),
        fit=losses.cross_entropy,
        penalty=lambda replica: 0.0,
        optimizers=None,
        rates=None,
        batch_size=4,
        vali_batch_size=vali_batch_size,
    )


def evaluate(vali_batch_size):
    with tf.Graph().as_default():
        task = problem_of(vali_batch_size)
        evaluation = Evaluation(task)
        with tf.Session() as session:
            runs.begin(session, evaluation.store)
            metrics = evaluation.metrics(session)
            batches = range(-(-IMAGES // vali_batch_size))
            parts = [session.run(evaluation.logits, {"test_batch:0": index}) for index in batches]
            logits = np.concatenate(parts)[:IMAGES]
        return metrics, logits.astype(float), task.dataset.test_labels


@pytest.mark.parametrize("vali_batch_size", [1, 10, 37, 250])
def test_every_image_counts_once(vali_batch_size):
    metrics, logits, labels = evaluate(vali_batch_size)
    rows = np.arange(IMAGES)
    entropies = np.log(np.exp(logits).sum(axis=1)) - logits[rows, labels]
    rank = (logits > logits[rows, labels][:, None]).sum(axis=1)
    np.testing.assert_allclose(metrics.cross_entropy, entropies.mean(), rtol=1e-6)
    np.testing.assert_allclose([metrics.error, metrics.error_k], [(rank >= 1).mean(), (rank >= 5).mean()], rtol=1e-12)


def test_geometry_is_that_of_each_layer():
    evaluation = Evaluation(problem_of(10))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        geometry = evaluation.geometry(session)
        mapped = {scope: kernel for scope, kernel in evaluation.kernels.items() if kernel.rotate}
        matrices = {scope: session.run(kernel.matrix).astype(float) for scope, kernel in mapped.items()}
    for layer, matrix in matrices.items():
        neurons = matrix / np.linalg.norm(matrix, axis=0)
        apart = np.linalg.norm(neurons[:, :, None] - neurons[:, None, :], axis=0)[~np.eye(3, dtype=bool)]
        for power, energies in ((0, -np.log(apart)), (1, 1 / apart), (2, 1 / apart**2)):
            np.testing.assert_allclose(geometry[f"energy_{power}"][layer], energies.mean(), rtol=1e-6)
        # Q = 2 I, so Q Q^T - I = 3 I.
        np.testing.assert_allclose(geometry["orthogonality"][layer], 3 * np.sqrt(len(matrix)), rtol=1e-6)
    assert len(matrices) == 7


def test_images_with_scores_that_are_not_finite_are_counted():
    evaluation = Evaluation(problem_of(10))
    (score,) = variables.with_role(variables.Role.WEIGHT)
    with tf.Session() as session:
        runs.begin(session, evaluation.store)
        assert evaluation.metrics(session).not_finite == 0
        assign(session, {score: np.full(score.shape, np.nan)})
        metrics = evaluation.metrics(session)
    assert (metrics.not_finite, metrics.error) == (IMAGES, 1.0)
    line = str(Metrics(float("nan"), 0.5, 0.25, 5, not_finite=3))
    assert line == "cross_entropy = nan, err = 50.0000 %, err_5 = 25.0000 %, 3 images with scores that are not finite"


def test_a_top_k_error_is_told_where_there_are_more_than_k_classes():
    for classes, k in (5, None), (6, 5):
        problem = dataclasses.replace(problem_of(37), dataset=synthetic.load(8, 37, classes=classes))
        with tf.Graph().as_default(), tf.Session() as session:
            evaluation = Evaluation(problem)
            runs.begin(session, evaluation.store)
            assert evaluation.metrics(session).k == k
    metrics = Metrics(1.5, 0.25, 0.0, None)
    assert str(metrics) == "cross_entropy = 1.5000, err = 25.0000 %"
    assert metrics.percentages() == {"cross_entropy": 1.5, "error": 25.0}


class Watched:
    """A session that notes the types of the nodes which each call executes."""

    def __init__(self, session):
        self._session, self.calls = session, []

    def run(self, fetches, feeds=None):
        options, seen = tf.RunOptions(output_partition_graphs=True), tf.RunMetadata()
        values = self._session.run(fetches, feeds, options=options, run_metadata=seen)
        self.calls.append(collections.Counter(node.op for graph in seen.partition_graphs for node in graph.node))
        return values


def executed(kernel):
    """Returns what each call of an evaluation in three batches executes."""
    with tf.Graph().as_default(), tf.Session() as session:
        evaluation = Evaluation(problem_of(13, kernel))
        runs.begin(session, evaluation.store)
        watched = Watched(session)
        evaluation.metrics(watched)
    return watched.calls


def test_with_frozen_kernels_a_batch_executes_what_ordinary_evaluation_does():
    """Node by node, except that a kernel is fed and not read."""
    _, *ordinary = executed(kernels.plain())
    maps, *frozen = executed(kernels.rotated(gram_schmidt))
    assert len(frozen) == len(ordinary) == 3
    assert maps["Cholesky"] > 0 and not any(call["Cholesky"] for call in frozen)  # the maps of CNN-6, once
    handed_in = {"ReadVariableOp", "VarHandleOp", "_Arg", "_Recv", "_HostRecv"}
    for one, other in zip(frozen, ordinary):
        assert {kind: one[kind] for kind in one if kind not in handed_in} == {
            kind: other[kind] for kind in other if kind not in handed_in
        }
        assert sum(one.values()) <= sum(other.values())


def test_the_line_of_the_originals():
    assert str(Metrics(1.69566, 0.652393, 0.06801, 5)) == "cross_entropy = 1.6957, err = 65.2393 %, err_5 = 6.8010 %"
