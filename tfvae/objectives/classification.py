"""What a model with a classifier learns from labels beside its bound."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae.objectives.base import Objective, check_number
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Classification(Objective):
    r"""The cross-entropy of the classifier q(y|x) on the labelled examples.

    .. math:: \alpha\, \frac{N}{N_l}\, \bigl(-\log q(y|x)\bigr)
        \text{ of a labelled example, and 0 of any other}

    so that its mean over all N examples is alpha times the mean over the N_l labelled ones. The
    bound alone never trains the classifier on labels: given y it does not contain q(y|x).

    Where alpha is small beside what classes differ by in nats, a classifier that gives all
    unlabelled examples to a few classes is the easier way to a good bound. The paper's weight,
    0.1 N where the labelled examples' terms are summed, is an alpha of 0.1 N_l.

    Args:
        alpha: its weight.

    Raises:
        ValueError: if `alpha` is negative or not finite.
        TypeError: when trained, if the model has no classifier.

    Example:
        >>> from tfvae import objectives
        >>> objective = objectives.ELBO() + objectives.Classification(alpha=100.0)

    References:
        Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep generative
        models, arXiv:1406.5298, eq. 9.
    """

    alpha: float = 50.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, minimum=0)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the weighted cross-entropy, [B]."""
        if trace.log_label is None:
            raise TypeError(
                "Expected a model with a classifier q(y|x), such as "
                "tfvae.families.SemiSupervisedVAE, for the objective Classification. "
                "Received: one without."
            )
        share = tf.cast(1.0 if trace.labelled is None else trace.labelled, trace.log_label.dtype)
        return -self.alpha * trace.log_label / share
