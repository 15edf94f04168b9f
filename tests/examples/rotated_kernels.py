"""Kernels turned by Householder reflections in a TensorFlow 1 program of one's own: two classes of random images."""

import numpy as np
import tensorflow.compat.v1 as tf

from common.nn import kernels, metrics
from common.nn.kernels import rotated
from common.nn.layers import conv2d
from opt_hr.householder import householder  # or any other map(generator [n, n], weights [n, m])


def own_conv(images, channels, kernel):
    """A layer of one's own calls the kernel factory in its variable scope, once, with the shape that it needs."""
    weights = kernel([3, 3, images.shape[-1], channels])
    return tf.nn.conv2d(images, weights, strides=2, padding="SAME")


def own_dense(features, units, kernel):
    return tf.matmul(features, kernel([features.shape[-1], units]))


def logits_of(images):
    with tf.variable_scope("conv1"):
        features = tf.nn.relu(conv2d(images, 8, 3, kernel=rotated(householder)))  # this project's layer
    with tf.variable_scope("conv2"):
        features = tf.nn.relu(own_conv(features, 16, rotated(householder)))
    with tf.variable_scope("dense"):
        features = tf.nn.relu(own_dense(tf.reduce_mean(features, axis=[1, 2]), 16, rotated(householder)))
    return tf.matmul(features, tf.get_variable("output", [16, 2], initializer=tf.zeros_initializer()))


tf.set_random_seed(1)  # start values follow from it and from the names of the variables
labels = np.arange(64) % 2
pictures = np.random.RandomState(1).randn(64, 8, 8, 3) + 0.5 * labels[:, None, None, None]
logits = logits_of(tf.constant(pictures, tf.float32))
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
train = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)  # any optimizer: a generator is a variable like others
with tf.variable_scope("", reuse=True):  # a second pass has the same kernels, and no map of its own
    scores = logits_of(tf.placeholder(tf.float32, [None, 8, 8, 3], "pictures"))

layers = kernels.rotated_layers()
energies = [metrics.hyperspherical_energy(layer.tensor) for layer in layers]
distances = [metrics.orthogonality_error(layer.rotation()) for layer in layers]
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    print("energies before:", *(f"{energy:.6f}" for energy in session.run(energies)))
    for count in range(50):
        before, _ = session.run([loss, train])
        if count % 10 == 9:
            print(f"step {count}, loss {before:.4f}")
    print("energies after: ", *(f"{energy:.6f}" for energy in session.run(energies)))
    print("distance of Q from an orthogonal matrix:", *(f"{distance:.0e}" for distance in session.run(distances)))
    # After training a kernel is a matrix like any other: computed once, it is fed, and no map is computed again.
    frozen = {layer.tensor: session.run(layer.tensor) for layer in layers}
    guesses = session.run(scores, {"pictures:0": pictures, **frozen}).argmax(axis=1)
    print(f"{np.mean(guesses == labels):.0%} right")
