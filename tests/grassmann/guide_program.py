"""Grassmann optimizers in a TensorFlow 1 program of one's own: two classes of random images, five changes."""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

from grassmann.optimizers import AdamG, HybridOptimizer  # 1. import (SgdG is the other optimizer)

if "--reference_variables" in sys.argv:
    tf.disable_v2_behavior()  # as a program written for TensorFlow 1 does


def unit_neurons(shape, dtype=None, partition_info=None):
    kernel = np.random.RandomState(0).randn(*shape)
    return tf.constant(kernel / np.linalg.norm(kernel.reshape(-1, shape[-1]), axis=0), dtype)


def conv_bn_relu(images, name, channels):
    with tf.variable_scope(name):
        # 2. a kernel followed by batch normalization starts with unit neurons and goes on a list of its own
        shape = [3, 3, images.shape[-1], channels]
        kernel = tf.get_variable("weight", shape, initializer=unit_neurons)
        tf.add_to_collection("manifold", kernel)
        sums = tf.nn.conv2d(images, kernel, strides=[1, 2, 2, 1], padding="SAME")
        mean, variance = tf.nn.moments(sums, axes=[0, 1, 2])
        scale = tf.get_variable("gamma", [channels], initializer=tf.ones_initializer())
        shift = tf.get_variable("beta", [channels], initializer=tf.zeros_initializer())
        return tf.nn.relu(tf.nn.batch_normalization(sums, mean, variance, shift, scale, 1e-5))


labels = np.arange(64) % 2
pictures = np.random.RandomState(1).randn(64, 8, 8, 3) + 0.5 * labels[:, None, None, None]
features = conv_bn_relu(conv_bn_relu(tf.constant(pictures, tf.float32), "conv1", 8), "conv2", 8)
output = tf.get_variable("output", [8, 2], initializer=tf.zeros_initializer())
logits = tf.matmul(tf.reduce_mean(features, axis=[1, 2]), output)
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

# 3. two optimizers in one: momentum for the Euclidean variables, Adam-G for the kernels on the manifold
optimizer = HybridOptimizer(tf.train.MomentumOptimizer(0.1, 0.9), AdamG(0.05, grad_clip=0.1))
manifold = tf.get_collection("manifold")
names = {kernel.op.name for kernel in manifold}
euclidean = [variable for variable in tf.trainable_variables() if variable.op.name not in names]

# 4. one backward pass for both lists
gradients = tf.gradients(loss, euclidean + manifold)

# 5. one update of both, and one count of the step
step = tf.train.get_or_create_global_step()
pairs = list(zip(gradients, euclidean + manifold))
train = optimizer.apply_gradients(pairs[: len(euclidean)], pairs[len(euclidean) :], global_step=step)

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for count in range(50):
        before, _ = session.run([loss, train])
        if count % 10 == 9:
            print(f"step {count}, loss {before:.4f}")
    norms = [np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0) for kernel in session.run(manifold)]
    print(f"largest deviation of a norm from 1: {max(abs(norm - 1).max() for norm in norms):.1e}")
    print(f"kind of variable: {type(manifold[0]).__name__}")
