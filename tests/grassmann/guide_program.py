"""A program in the manner of TensorFlow 1 that trains with the optimizers of grassmann: reference variables, a float32
global_step, learning rates from a placeholder. Python finds the folder grassmann, not the repository's root.

It prints as JSON, for SGD-G and for Adam-G: the losses of a few steps, norms of the kernel at three moments, the names
that a checkpoint has, and the kind of the variables.
"""

import json
import sys

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

import grassmann_optimizer
import gutils

STEPS, OMEGA, DECAY, RATES = 4, 0.1, 0.01, (0.05, 0.2)


def start_of(name, shape):
    return 0.5 * np.random.RandomState(len(name)).randn(*shape)


def network(images, labels):
    kernel = tf.get_variable("conv/weight", [3, 3, 1, 4])
    gamma = tf.get_variable("bn/gamma", [4], initializer=tf.ones_initializer())
    beta = tf.get_variable("bn/beta", [4], initializer=tf.zeros_initializer())
    weight, bias = tf.get_variable("fc/weight", [4, 3]), tf.get_variable("fc/bias", [3])
    tf.get_variable("unused/weight", [2, 2])
    features = tf.nn.conv2d(images, kernel, strides=[1, 1, 1, 1], padding="VALID")
    mean, variance = tf.nn.moments(features, axes=[0, 1, 2])
    features = tf.nn.relu(tf.nn.batch_normalization(features, mean, variance, beta, gamma, 1e-5))
    logits = tf.matmul(tf.reduce_mean(features, axis=[1, 2]), weight) + bias
    fit = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    return fit + DECAY / 2 * tf.reduce_sum(tf.square(weight))


def manifold_optimizer(name, rate):
    if name == "sgdg":
        return grassmann_optimizer.SgdgOptimizer(rate, 0.9, grad_clip=0.1)
    return grassmann_optimizer.AdamgOptimizer(rate, 0.9, epsilon=1e-8, grad_clip=0.1)


def train(name):
    images = np.random.RandomState(0).randn(16, 5, 5, 1)
    loss = network(tf.constant(images, tf.float32), np.arange(16) % 3)
    # 1. kernels on the manifold start with unit neurons and are collected
    for variable in tf.trainable_variables():
        if variable.op.name == "conv/weight":
            variable._initializer_op = tf.assign(variable, gutils.unit_initializer()(variable.shape)).op
            tf.add_to_collection("grassmann", variable)
    # 2., 3. they have the orthogonality regulariser in place of decay
    for kernel in tf.get_collection("grassmann"):
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        loss += OMEGA / 2 * tf.reduce_sum(tf.square(tf.matmul(matrix, matrix, transpose_a=True) - tf.eye(4)))
    # 4. two optimizers in one
    rates = tf.placeholder(tf.float32, [2])
    euclidean = tf.train.MomentumOptimizer(rates[0], 0.9, use_nesterov=True)
    optimizer = grassmann_optimizer.HybridOptimizer(euclidean, manifold_optimizer(name, rates[1]))
    # 5. one list of gradients, split by the collection
    step = tf.get_variable("global_step", [], initializer=tf.zeros_initializer(), trainable=False)
    pairs = optimizer.compute_gradients(loss)
    on_manifold = tf.get_collection("grassmann")
    of_a = [(gradient, variable) for gradient, variable in pairs if variable not in on_manifold]
    of_b = [(gradient, variable) for gradient, variable in pairs if variable in on_manifold]
    update = optimizer.apply_gradients(of_a, of_b, global_step=step)

    norms, losses = [], []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        norms.append(session.run(gutils.norm(on_manifold[0])).ravel().tolist())
        for variable in tf.trainable_variables():
            variable.load(start_of(variable.op.name, variable.shape.as_list()), session)
        norms.append(session.run(gutils.norm(on_manifold[0])).ravel().tolist())
        for _ in range(STEPS):
            losses.append(float(session.run([loss, update], {rates: RATES})[0]))
        norms.append(session.run(gutils.norm(on_manifold[0])).ravel().tolist())
        unused = session.run("unused/weight:0").tolist()
        count = float(session.run(step))
    names = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
    kind = type(on_manifold[0]).__name__
    return {"losses": losses, "norms": norms, "names": names, "kind": kind, "unused": unused, "count": count}


if __name__ == "__main__":
    results = {}
    for name in ("sgdg", "adamg"):
        with tf.Graph().as_default():
            results[name] = train(name)
    json.dump(results, sys.stdout)
