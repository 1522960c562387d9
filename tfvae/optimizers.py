"""The optimizer of a run: Adam or Adagrad, with what its configuration asks for."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("tfvae")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    r"""A learning rate that rises linearly at first.

    .. math:: \min\left(1, \frac{t + 1}{w}\right) r(t)

    Args:
        rate: r, a number or a schedule.
        steps: w, after how many steps the rate is r.

    Example:
        >>> rate = tfvae.optimizers.Warmup(0.1, steps=4)
        >>> [round(float(rate(step)), 4) for step in range(5)]
        [0.025, 0.05, 0.075, 0.1, 0.1]
    """

    def __init__(self, rate: Any, steps: int) -> None:
        super().__init__()
        self.rate = rate
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step."""
        rate = self.rate(step) if callable(self.rate) else self.rate
        done = (keras.ops.cast(step, "float32") + 1.0) / self.steps
        return keras.ops.minimum(1.0, done) * rate

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        schedule = isinstance(self.rate, keras.optimizers.schedules.LearningRateSchedule)
        rate = keras.saving.serialize_keras_object(self.rate) if schedule else self.rate
        return {"rate": rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Warmup:
        """Rebuild a schedule from :meth:`get_config`."""
        rate = config["rate"]
        if isinstance(rate, dict):
            rate = keras.saving.deserialize_keras_object(rate)
        return cls(rate, config["steps"])


def adam(
    learning_rate: float,
    *,
    steps: int,
    schedule: str = "constant",
    warmup: int = 0,
    clip_norm: float | None = None,
    ema: float | None = None,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """Return Adam.

    Args:
        learning_rate: the largest.
        steps: of the whole training, at whose end a falling rate is 0; with accumulation too,
            every step counts.
        schedule: ``"constant"``, ``"cosine"`` or ``"linear"``.
        warmup: steps in which the rate rises to the largest.
        clip_norm: the largest norm of all gradients together, in nats per unit of weight; larger
            ones are scaled down.
        ema: momentum of the weights' moving averages; None keeps none.
        accumulate: steps whose gradients are averaged for one update.

    References:
        Kingma and Ba (2015), Adam, arXiv:1412.6980. Loshchilov and Hutter (2017), arXiv:1608.03983.
    """
    return keras.optimizers.Adam(
        **_options(learning_rate, steps, schedule, warmup, clip_norm, ema, accumulate)
    )


def adagrad(
    learning_rate: float,
    *,
    steps: int,
    schedule: str = "constant",
    warmup: int = 0,
    clip_norm: float | None = None,
    ema: float | None = None,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """Return Adagrad, with which Kingma and Welling trained the first VAEs.

    Args:
        learning_rate: the largest; each weight's own falls with the squares of its gradients.
        steps: as of :func:`adam`.
        schedule: as of :func:`adam`.
        warmup: as of :func:`adam`.
        clip_norm: as of :func:`adam`.
        ema: as of :func:`adam`.
        accumulate: as of :func:`adam`.

    References:
        Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning and
        stochastic optimization, JMLR 12.
    """
    return keras.optimizers.Adagrad(
        **_options(learning_rate, steps, schedule, warmup, clip_norm, ema, accumulate)
    )


def _options(
    learning_rate: float,
    steps: int,
    schedule: str,
    warmup: int,
    clip_norm: float | None,
    ema: float | None,
    accumulate: int,
) -> dict[str, Any]:
    """Return what all of Keras's optimizers take."""
    schedules = keras.optimizers.schedules
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = schedules.CosineDecay(learning_rate, steps)
    elif schedule == "linear":
        rate = schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    if warmup:
        rate = Warmup(rate, warmup)
    averages = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    return {
        "learning_rate": rate,
        "global_clipnorm": clip_norm,
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
        **averages,
    }
