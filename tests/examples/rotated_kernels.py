"""Kernels rotated by Householder reflections in a TensorFlow 1 program of one's own: two classes of random images."""

import numpy as np
import tensorflow.compat.v1 as tf

from common.graph import variables
from common.graph.variables import Role
from common.nn import metrics
from common.nn.kernels import rotated, rotation
from opt_hr.householder import householder  # or any other map(generators [..., n, n], weights [..., n, m])

tf.set_random_seed(1)  # start values follow from it and from the names of the variables
SHAPES = {"conv1": [3, 3, 3, 8], "conv2": [3, 3, 8, 16], "dense": [16, 16]}
kernels = {}
for scope, shape in SHAPES.items():
    with tf.variable_scope(scope):
        kernels[scope] = rotated(householder)(shape)  # makes the fixed weights and the generator, computes Q(P) @ W


def logits_of(images):
    """The network is a function of images and kernels; it may be called again, and computes no map."""
    features = tf.nn.relu(tf.nn.conv2d(images, kernels["conv1"], strides=1, padding="SAME"))
    features = tf.nn.relu(tf.nn.conv2d(features, kernels["conv2"], strides=2, padding="SAME"))
    features = tf.nn.relu(tf.matmul(tf.reduce_mean(features, axis=[1, 2]), kernels["dense"]))
    with tf.variable_scope("output", reuse=tf.AUTO_REUSE):
        return tf.matmul(features, tf.get_variable("weight", [16, 2], initializer=tf.zeros_initializer()))


labels = np.arange(64) % 2
pictures = np.random.RandomState(1).randn(64, 8, 8, 3) + 0.5 * labels[:, None, None, None]
logits = logits_of(tf.constant(pictures, tf.float32))
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
train = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)  # any optimizer: a generator is a variable like others
scores = logits_of(tf.placeholder(tf.float32, [None, 8, 8, 3], "pictures"))

energies = [metrics.hyperspherical_energy(kernel) for kernel in kernels.values()]
rotations = [rotation(householder, generator) for generator in variables.with_role(Role.GENERATOR)]
distances = [metrics.orthogonality_error(matrix) for matrix in rotations]
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
    frozen = {kernel: session.run(kernel) for kernel in kernels.values()}
    guesses = session.run(scores, {"pictures:0": pictures, **frozen}).argmax(axis=1)
    print(f"{np.mean(guesses == labels):.0%} right")
