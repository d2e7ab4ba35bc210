"""The optimizer: Muon for the convolutions, AdamW for all else; its schedule, averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

MUON_MOMENTUM = 0.95  # as published
# The coefficients of the five steps that bring a matrix's singular values near 1, as published.
NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 5


def longest_momentum(steps: int) -> float:
    """The largest momentum of a running average that forgets the first weights before a training
    of so many steps ends: the average is over a tenth of them."""
    return 1 - 10 / max(steps, 11)


def learning_rate_schedule(
    peak: float, warmup_steps: int, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up to the learning rate `peak`, then cosine decay to a hundredth of it.

    Warm-up is at most a fifth of the training's `steps`.
    """
    import keras

    warmup = min(warmup_steps, steps // 5)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 100,
        warmup_target=peak,
        warmup_steps=warmup,
        decay_steps=max(steps - warmup, 1),
        alpha=0.01,
    )


def is_inner_kernel(variable: Any) -> bool:
    """Whether a variable is the kernel of a convolution within the body: not of the stem, which
    sees one grey channel, nor of the heads, whose rows are a point each."""
    shape = variable.shape
    head = variable.path.split("/")[-2] in ("maps", "offsets")
    return len(shape) == 4 and shape[2] > 1 and not head


def orthogonal(matrix: Any) -> Any:
    """Nearly the nearest orthogonal matrix to one (rows, columns): all singular values near 1."""
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

    Muon's step is the orthogonal matrix nearest to the momentum: it moves the network equally far
    in all directions, including those with small gradients. Scaled as by Liu et al. 2025,
    https://arxiv.org/abs/2502.16982, it is as large as AdamW's, so that both share a schedule.

    Args:
        schedule: a keras learning rate schedule.
        weight_decay: decoupled, times the learning rate.
        ema_momentum: of the averaged weights; shorter runs use `longest_momentum`.
        steps: of the whole training.
        by_muon: which variables Muon trains.
    """
    import keras
    from keras import ops

    class Muon(keras.optimizers.Adam):
        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            # Looked up now: in TensorFlow's steps the variables have lost their paths.
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
            # The root mean square of its elements is then 0.2, as in AdamW's steps.
            scale = 0.2 * max(matrix.shape) ** 0.5
            return ops.reshape(scale * orthogonal(matrix), gradient.shape)

    return Muon(schedule, use_ema=True, ema_momentum=min(ema_momentum, longest_momentum(steps)))
