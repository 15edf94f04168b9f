"""What a network is given besides images: where its kernels come from."""

import dataclasses
from collections.abc import Callable

from common.nn import kernels


@dataclasses.dataclass(frozen=True)
class Parts:
    """Kernel factories of a network (see common/nn/kernels.py).

    Attributes:
      kernel: of its conv layers.
      first_kernel: of the conv that sees the image; None for the same.

    1x1 projections and the layers that give class scores are always ordinary ones.
    """

    kernel: Callable = kernels.plain()
    first_kernel: Callable | None = None

    @property
    def first(self):
        return self.first_kernel or self.kernel
