"""What the flags of the generators P mean: where P starts, and its own optimizer, where it has one."""

from common.graph import initializers
from common.riemannian.optimizers import AdamG, SgdG

LR = 0.05  # --generator_lr: of sgdg from a holdout (opt_gs), of adamg as its authors have it on CIFAR


def start_of(name):
    """Returns the initializer of P that --generator_start=`name` means."""
    known = {"paper": initializers.normal(1.0), "unit": initializers.lecun_normal}
    return known[name] if name in known else initializers.normal(float(name))


def optimizer(settings, rate, axis):
    """Returns the optimizer that keeps the vectors of P along `axis` on G(1, n); their lengths do not change Q.

    Each P counts its own steps of Adam-G, for a method may begin anew with one of them.
    """
    if settings.generator_optimizer == "sgdg":
        return SgdG(rate, settings.momentum, axis=axis)
    return AdamG(rate, settings.momentum, axis=axis, counting=True)


def check(settings, method, axis):
    """Raises ValueError if the generators of a method, given by its name, cannot be on G(1, n) along `axis`."""
    own, start = f"--generator_optimizer={settings.generator_optimizer}", settings.generator_start
    if settings.generator_optimizer == "momentum" or settings.rotation != "method":
        return
    if axis is None:
        raise ValueError(f"{own}: {method} has no P whose columns or rows may have any length; leave it out")
    if start:
        raise ValueError(f"--generator_start={start}: under {own} P starts at norm 1; leave one of the two out")
