"""What an exported network says about scikit-learn's digits: python classify_digits.py FOLDER"""

import sys

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

network = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
digits = load_digits()  # 8 x 8 pixels, 0 .. 16
pictures = tf.round(tf.image.resize(digits.images[..., None] * 255 / 16, [32, 32]))
images = tf.cast(tf.repeat(pictures, 3, axis=-1), tf.uint8)
classes = network(images=images)["class"].numpy()
print(f"{np.mean(classes == digits.target):.2%} of {len(classes)} digits are right, the first ones are {classes[:5]}")
