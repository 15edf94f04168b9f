"""What is to be trained, and the graph that trains it."""

import dataclasses
from collections.abc import Callable

from common.compat import tf
from common.console import one_line
from common.data import batches
from common.data.dataset import Dataset
from common.data.store import store
from common.distributed.cluster import ALONE
from common.graph import variables
from common.graph.precision import compiled, loss_scale_of, lowered
from common.graph.replicas import Replica
from common.nn import kernels, metrics
from common.nn.layers import BatchNormConstants, Mode
from common.training.step import Health, make_train_op


@dataclasses.dataclass(frozen=True)
class Problem:
    """Everything that decides what a step computes; the methods differ in `factory_of` and `optimizers`.

    Attributes:
      dataset: images and labels.
      pipeline: how an image becomes a network's input.
      network: `network(images, classes, kernels, mode) -> logits`.
      factory_of: `factory_of(layer) -> Factory`, where its kernels come from.
      batch_norm: constants of its batch normalization.
      fit: `fit(logits, labels) -> loss of each image`.
      penalty: `penalty(replica) -> scalar`, what the loss has besides the mean of fit.
      optimizers: `optimizers(step, replica) -> [(optimizer, variables)]`.
      rates: `rates(step) -> {name: learning rate}`, for logs.
      batch_size: images of an update, over all replicas.
      vali_batch_size: images evaluated at once.
      keep_prob: of dropout; None for none.
      seed: of everything random.
      k: of the top-k error.
      nan_policy: what follows a step that is not finite, which is dropped in any case. With "skip" the step counts, and
        training goes on with the next batch; with "stop" the run ends.
      precision: in which the network is trained, one of common/graph/precision.py's NAMES.
      loss_scale: what the loss is multiplied by for the backward pass; None for what the precision needs.
      xla: whether XLA compiles the network's training pass, on one device penalties, the finite check and the updates.
      sync_bn: whether several replicas normalize their batches by the statistics of all of them.

    Evaluation is neither of low precision nor compiled: the metrics of a checkpoint do not depend on how it was made.
    """

    dataset: Dataset
    pipeline: batches.Pipeline
    network: Callable
    factory_of: Callable
    batch_norm: BatchNormConstants
    fit: Callable
    penalty: Callable
    optimizers: Callable
    rates: Callable
    batch_size: int
    vali_batch_size: int
    keep_prob: float | None = None
    seed: int = 0
    k: int = 5
    nan_policy: str = "stop"
    precision: str = "float32"
    loss_scale: float | None = None
    xla: bool = False
    sync_bn: bool = True

    def plan(self):
        """Returns the network's `Plan`."""
        size, channels = self.pipeline.crop_size, self.dataset.train_images.shape[-1]
        return kernels.plan(self.network, self.dataset.classes, (size, size, channels), Mode(False, self.batch_norm))

    def kernels(self, dtype=tf.float32):
        """Returns {scope: `Kernel`} of one replica, in whose scope it is called; makes their variables."""
        return kernels.build(self.plan(), self.factory_of, dtype)

    def logits(self, images, of_layers, mode):
        """Returns the class scores of a batch of float images, of their type; `of_layers` is {scope: kernel tensor}."""
        inputs = lowered(images, self.precision) if mode.training else images
        logits = self.network(inputs, self.dataset.classes, kernels.given(of_layers), mode)
        return tf.cast(logits, images.dtype.base_dtype)


@dataclasses.dataclass(frozen=True)
class Training:
    """The graph that trains, as replica 0 sees it.

    Attributes:
      images, labels: the batch of the step, [batch, height, width, channels] float after normalisation and [batch]
        int32. Both may be fed instead.
      kernels: {scope: `Kernel`} of each replica here.
      fit, regularisation, loss: scalars; loss = mean of fit + regularisation.
      metrics: means over all replicas of loss, fit and error, the share classified wrongly; and the learning rates.
      rates: {name: learning rate} of `step`, which may be fed: the index of the update under way.
      steps: the `step` of each replica.
      train_op: one update of every replica; dropped if it is not finite.
      health: what of this step is finite.
      global_step: the number of updates done, an int64 variable.
      groups: the pairs (optimizer, variables) of each replica.
      stores: the training images of each replica (see data/batches.py).
      wish, stop: with several processes, a scalar to be fed, above 0 in a process that wants to stop; and its mean over
        all of them, which each knows after the step. None in a process on its own.

    Replicas of other processes are no part of it, but of the means.
    """

    images: tf.Tensor
    labels: tf.Tensor
    kernels: list
    fit: tf.Tensor
    regularisation: tf.Tensor
    loss: tf.Tensor
    metrics: dict
    rates: dict
    step: tf.Tensor
    steps: list
    train_op: tf.Operation
    health: Health
    global_step: tf.Variable
    groups: list
    stores: list
    wish: tf.Tensor | None = None
    stop: tf.Tensor | None = None


def build(problem, devices=(None,), dtype=tf.float32, cluster=ALONE):
    """Builds the training graph of `problem` in the default graph and returns it, a `Training`.

    Args:
      problem: a `Problem`.
      devices: one replica is built on each; (None,) leaves the placement of a single one to TensorFlow.
      dtype: of images and variables.
      cluster: the `Cluster` that this process belongs to; the others build as many replicas each.
    """
    tf.set_random_seed(problem.seed)
    first, count = cluster.index * len(devices), cluster.count * len(devices)
    here = range(first, first + len(devices))
    wish = tf.placeholder_with_default(tf.zeros([], dtype), []) if cluster.count > 1 else None
    replicas = [
        _build_replica(problem, Replica(index, count, here), device, dtype, wish)
        for index, device in zip(here, devices)
    ]
    train_op = tf.group(*[replica.train_op for replica in replicas], name="train")
    stores = [store for replica in replicas for store in replica.stores]
    groups = [groups for replica in replicas for groups in replica.groups]
    of_replicas, steps = [replica.kernels[0] for replica in replicas], [replica.step for replica in replicas]
    return dataclasses.replace(
        replicas[0], train_op=train_op, kernels=of_replicas, groups=groups, stores=stores, steps=steps
    )


def try_out(session, training):
    """Computes the gradients of the step to come, and writes nothing.

    Raises ValueError, in one line, if an operation has no deterministic kernel, which shows only when it runs.
    """
    try:
        session.run([gradient.op for gradient in training.health.gradients.values()])
    except tf.errors.UnimplementedError as error:
        what = f"--deterministic: {one_line(error)}"
        raise ValueError(f"{what}; leave --deterministic out, or use --device=cpu") from None


def _build_replica(problem, replica, device, dtype, wish):
    with tf.device(device), variables.replica_scope(replica.local):
        step = variables.global_step()
        step_value = tf.identity(step.read_value())
        training_set = store(problem.dataset.train_images, problem.dataset.train_labels, "training_set")
        first, size = replica.share(problem.batch_size)
        images, labels = batches.training_batch(
            training_set, step_value, problem.batch_size, problem.seed, problem.pipeline, dtype, first, size
        )
        mode = Mode(True, problem.batch_norm, problem.keep_prob, step_value, replica, problem.sync_bn)
        # A caller may feed the batch. The checks keep Grappler from tying constants folded from a shape to the node
        # that was fed, which would read the stored images all the same.
        inputs, targets = tf.ensure_shape(images, images.shape), tf.ensure_shape(labels, labels.shape)
        of_layers = problem.kernels(dtype)
        tensors = {scope: kernel.tensor for scope, kernel in of_layers.items()}
        with compiled(problem.xla):
            logits = problem.logits(inputs, tensors, mode)
            fit = tf.reduce_mean(problem.fit(logits, targets))
        # Of several devices' penalties XLA would make one group, and refuse it.
        with compiled(problem.xla and replica.count == 1):
            regularisation = tf.convert_to_tensor(problem.penalty(replica.local), dtype)
            error = tf.reduce_mean(tf.cast(metrics.errors(logits, targets), dtype))
        loss = fit + regularisation
        groups = problem.optimizers(step_value, replica.local)
        rates = problem.rates(step_value)
    with tf.device(device):  # outside the replica's scope: an optimizer names a slot after the whole variable
        measured = {"loss": loss, "fit": fit, "error": error} | ({} if wish is None else {"stop": wish})
        scale = problem.loss_scale or loss_scale_of(problem.precision)
        counted = problem.nan_policy == "skip"
        train_op, measured, health = make_train_op(
            fit, groups, step, replica, of_layers, regularisation, measured, counted, scale, problem.xla
        )
        stop = measured.pop("stop", None)
        measured |= rates
    return Training(
        images, labels, [of_layers], fit, regularisation, loss, measured, rates, step_value, [step_value], train_op,
        health, step, [groups], [training_set], wish, stop,
    )  # fmt: skip
