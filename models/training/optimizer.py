"""The optimizer: Muon for the convolutions, AdamW for all else, and averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

MUON_MOMENTUM = 0.95  # as published
# The coefficients of the five steps that bring a matrix's singular values near 1, as published.
NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 5


def short_memory(steps: int) -> float:
    """Momentum of a running average over a tenth of a training's steps: the most that lets it
    forget the first weights in time."""
    return 1 - 10 / max(steps, 11)


def is_inner_kernel(variable: Any) -> bool:
    """Whether a variable is a convolution between two layers of the body: neither of the single
    grey channel nor of the heads, whose rows mean something each for themselves."""
    shape = variable.shape
    head = variable.path.split("/")[-2] in ("maps", "offsets")
    return len(shape) == 4 and shape[2] > 1 and not head


def orthogonal(matrix: Any) -> Any:
    """About the orthogonal matrix next to one (rows, columns): all its singular values near 1."""
    from keras import ops

    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(x * x)) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x


def make_optimizer(
    schedule: Any,
    weight_decay: float,
    ema_momentum: float,
    steps: int,
    by_muon: Callable[[Any], bool] = is_inner_kernel,
) -> keras.optimizers.Optimizer:
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) for the convolutions of
    the body, AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) for the rest, and
    a running average of the weights.

    Muon's step is the orthogonal matrix next to the momentum: it moves the network in all
    directions alike, also in those whose gradients are small. Scaled as by Liu et al. 2025,
    https://arxiv.org/abs/2502.16982, it is as large as AdamW's, so that both go by one schedule.

    Args:
        schedule: a keras learning rate schedule.
        weight_decay: decoupled, times the learning rate.
        ema_momentum: of the averaged weights, at most.
        steps: of the whole training.
        by_muon: which variables go by Muon.
    """
    import keras
    from keras import ops

    class Muon(keras.optimizers.Adam):
        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            # Looked up now: a step of TensorFlow's gets variables that have lost their paths.
            self.inner = [by_muon(variable) for variable in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, variable * (weight_decay * learning_rate))
            index = self._get_variable_index(variable)
            if self.inner[index]:
                direction = self.direction(gradient, self._momentums[index])
                self.assign_sub(variable, learning_rate * direction)
                return
            # Clipped to norm 10: one mislabelled face must not undo a warm-up. (Keras clips before
            # the replicas' gradients are added up.)
            gradient = gradient * (10 / ops.maximum(ops.sqrt(ops.sum(gradient**2)), 10))
            super().update_step(gradient, variable, learning_rate)

        def direction(self, gradient: Any, momentum: Any) -> Any:
            new = MUON_MOMENTUM * momentum + (1 - MUON_MOMENTUM) * gradient
            self.assign(momentum, new)
            ahead = MUON_MOMENTUM * new + (1 - MUON_MOMENTUM) * gradient  # Nesterov's
            matrix = ops.reshape(ahead, (-1, gradient.shape[-1]))
            # Its elements' root mean square is 0.2 then, as AdamW's steps have it.
            scale = 0.2 * max(matrix.shape) ** 0.5
            return ops.reshape(scale * orthogonal(matrix), gradient.shape)

    return Muon(schedule, use_ema=True, ema_momentum=min(ema_momentum, short_memory(steps)))
