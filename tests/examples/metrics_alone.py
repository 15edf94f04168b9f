"""Energies, orthogonality and top-k errors of arrays from anywhere."""

import numpy as np

from common.nn.metrics import errors, hyperspherical_energy, of_arrays, orthogonality_error

random = np.random.RandomState(0)
kernel = random.randn(3, 3, 16, 32)  # 32 neurons of 144 inputs
rotation, _ = np.linalg.qr(random.randn(144, 144))
turned = rotation @ kernel.reshape(144, 32)
print(f"energy {of_arrays(hyperspherical_energy, kernel, power=1):.6f}")
print(f"turned {of_arrays(hyperspherical_energy, turned, power=1):.6f}")
print(f"of a rotation in float64: ||QQ^T - I|| = {of_arrays(orthogonality_error, rotation):.0e}")
scores, labels = random.randn(1000, 10), random.randint(0, 10, 1000)
error, error_5 = (of_arrays(errors, scores, labels, k=k).mean() for k in (1, 5))
print(f"error {error:.1%}, top-5 error {error_5:.1%}")
