"""Semi-supervised learning: a classifier inside a generative model, trained on few labels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import objectives
from tfvae.checks import check_emits
from tfvae.data import Examples
from tfvae.generation import in_batches
from tfvae.intake import labels
from tfvae.model import VAE, Scores
from tfvae.objectives import Objective
from tfvae.records import Records
from tfvae.replicas import Share
from tfvae.trace import Trace
from tfvae.training import Unpacked

UNLABELLED = -1
"""The label of an example that has none."""


@dataclass(frozen=True, kw_only=True)
class ClassTrace(Trace):
    """A pass in which the class is summed over where it is not known, and given where it is.

    Attributes:
        each: the pass of every example under every class, [S, B * K].
        share: q(y|x), [B, K]; of a labelled example 1 at its label.
        kl_class: KL(q(y|x)‖p(y)), [B]; of a labelled example -log p(y).
        possible: 0 where an example may be of a class and -inf where not, [B, K].
        known: whether an example is labelled, [B].
        right: whether the classifier's first choice is its label, [B].
    """

    each: Trace
    share: tf.Tensor
    kl_class: tf.Tensor
    possible: tf.Tensor
    known: tf.Tensor
    right: tf.Tensor

    @property
    def samples(self) -> int:
        """S, the number of posterior samples of each example under each class."""
        return self.each.samples

    @functools.cached_property
    def log_likelihood(self) -> tf.Tensor:
        """Return the mean over q(y|x) of log p(x|y, z), [S, B]."""
        return self._mean(self.each.log_likelihood)

    @functools.cached_property
    def log_weight(self) -> tf.Tensor:
        """Return the log of the sum over classes of p(y) p(x|y, z) p(z) / q(z|x, y), [S, B]."""
        weights = self._by_class(self.each.log_weight) + self.possible
        return tf.reduce_logsumexp(weights, axis=-1) - math.log(self.share.shape[-1])

    @functools.cached_property
    def kl_per_latent(self) -> tf.Tensor:
        """Return the KL of the class and, in the mean over q(y|x), that of z, [B, 2]."""
        return tf.stack([self.kl_class, self._mean(self.each.kl)], axis=-1)

    def _mean(self, value: tf.Tensor) -> tf.Tensor:
        # No class that cannot be counts, whatever its value.
        return tf.reduce_sum(tf.math.multiply_no_nan(self._by_class(value), self.share), axis=-1)

    def _by_class(self, value: tf.Tensor) -> tf.Tensor:
        return tf.reshape(value, [*value.shape[:-1], -1, self.share.shape[-1]])


@keras.saving.register_keras_serializable("tfvae")
class SemiSupervisedVAE(VAE):
    r"""A generative model of data and their classes, of which few need to be known: M2.

    .. math:: p(x, y, z) = p(y)\, p(z)\, p(x|y, z), \qquad q(y|x)\, q(z|x, y)

    with uniform p(y). The bound on log p(x, y) of a labelled example, and that on log p(x) of any
    other, in which the class is summed over,

    .. math:: \log p(x) \ge \sum_y q(y|x)\, \bigl(\mathrm{ELBO}(x, y) - \log q(y|x)\bigr)

    Train with ``fit(x, y)``, where y is -1 for examples without a label. The logs have the
    ``accuracy`` on labelled examples, if there are any. Of a conditional model it has all:
    ``generate(n, condition=labels)``, ``decode(z, condition=labels)``, which need a class; and
    ``encode``, ``reconstruct``. Where the condition of these is left out, or -1, the classifier's
    first choice stands for it, and in ``score`` and :mod:`tfvae.evaluate` the sum over classes,
    which makes theirs the bound on log p(x).

    A step runs encoder and decoder for every class, so it takes as many times as long. Of a
    pipeline the labels are not counted: Classification then weighs each as if all were labelled.

    Args:
        encoder: [x, y] to the posterior's parameters.
        decoder: [z, y] to the likelihood's parameters.
        classifier: x to the logits of q(y|x), [B, classes].
        objective: of those that sum over classes: ELBO with closed-form KL and plain gradients,
            IWAE with plain gradients, MIWAE, Reconstruction, Capacity, Classification, and their
            sums; ELBO() + Classification() by default.
        **slots: as of :class:`tfvae.VAE`.

    Raises:
        TypeError, ValueError: as :class:`tfvae.VAE`; and if encoder or decoder takes no label, the
            classifier does not emit one logit for each class, or the objective is another.

    Example:
        >>> vae = tfvae.zoo.semi_supervised_vae((4,), 2, classes=3, hidden=(8,))
        >>> x = np.random.default_rng(0).integers(0, 2, (32, 4)).astype("float32")
        >>> history = vae.fit(x, np.repeat([0, 1, 2, -1], 8), verbose=0)
        >>> vae.classify(x[:5]).shape
        (5, 3)

    References:
        Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep generative
        models, arXiv:1406.5298.
    """

    missing_label = UNLABELLED
    takes_another_prior = False

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        classifier: keras.Model,
        *,
        objective: Objective | None = None,
        name: str = "semi_supervised",
        **slots: Any,
    ) -> None:
        if objective is None:
            objective = objectives.ELBO() + objectives.Classification()
        super().__init__(encoder, decoder, objective=objective, name=name, **slots)
        _check_objective(objective)
        if set(self.takers) != {"encoder", "decoder"} or self.classes is None:
            raise ValueError(
                "Expected encoder and decoder to take a label as their second input, by an "
                f"Embedding of it. Received: {', '.join(self.takers) or 'none'} with a condition, "
                f"of {self.classes or 'no'} classes. Build them with condition=classes."
            )
        check_emits(
            classifier, "classifier", self.data_shape, (self.classes,), "a logit for each class"
        )
        self.classifier = classifier
        self.labelled = self.add_weight(
            name="labelled", shape=(), initializer="ones", trainable=False
        )
        self._accuracy = _Accuracy("accuracy")

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        """Return the networks, and slots that may hold networks of their own."""
        return *super().networks(), self.classifier

    @property
    def judged(self) -> tuple[str, ...]:
        """What is measured in evaluation as it is in training, beside the loss."""
        return *super().judged, "accuracy"

    @property
    def group_count(self) -> int:
        """How many groups of latents a pass has: the class, and z."""
        return 2

    @property
    def rows_per_draw(self) -> int:
        """The rows that the decoder runs for one draw: one for each class."""
        return self.classes or 1

    def check_condition(self, examples: Examples | Records, call: str) -> None:
        """Refuse labels that are neither classes nor missing."""
        y = labels(examples)
        if y is not None:
            self.check_labels(np.where(y == UNLABELLED, 0, y))

    def check_examples(self, examples: Examples | Records) -> None:
        """Refuse a training set without labels, and count them."""
        super().check_examples(examples)
        y, counts = labels(examples), _counts(examples)
        known = sum(number for label, number in counts.items() if label != UNLABELLED)
        if not known:
            raise ValueError(
                "Expected labels of some examples to train on, and -1 for the others. Received: "
                f"{'x' if y is None else 'labels of -1'} alone. Pass those that there are: "
                "vae.fit(x, y); of arrays, `validation_split` takes the last rows. Without any, "
                "train a plain tfvae.VAE."
            )
        self.labelled.assign(known / sum(counts.values()))

    @property
    def check_stream(self) -> Callable[[Examples], None]:
        """What looks at the first batch of a stream, whose labels are not counted."""

        def check(first: Examples) -> None:
            if first.y is None:
                raise ValueError(
                    "Expected batches (x, y), where y is -1 of examples without a label. Received: "
                    "x alone. Without any label, train a plain tfvae.VAE."
                )
            self.check_condition(first, "vae.fit(a dataset of pairs (x, y))")
            self.labelled.assign(1.0)

        return check

    def possible(self, batch: Unpacked) -> Unpacked:
        """Return the batch: :meth:`trace` judges its labels."""
        return batch

    def classify(self, x: Any, *, batch_size: int = 1024) -> npt.NDArray[np.floating[Any]]:
        """Return q(y|x), [N, classes].

        Args:
            x: [N, *data].
            batch_size: rows at a time.
        """
        x = np.asarray(x.values() if isinstance(x, Examples) else x)
        (shares,) = in_batches(lambda rows: (self.classify_rows(rows),), batch_size, x)
        return np.asarray(shares)

    def classify_rows(self, x: tf.Tensor) -> tf.Tensor:
        """Return q(y|x) of rows [B, *data], in portable operations."""
        return tf.nn.softmax(self._logits(x))

    def _logits(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        logits = self.classifier(self.as_data(x), training=training)
        return tf.cast(logits, self.posterior.compute_dtype)

    def given(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        """Return labels [B]: where they are missing, the classifier's first choice."""
        found = tf.argmax(self._logits(x), axis=-1, output_type=tf.int32)
        if condition is None:
            return found
        if tf.executing_eagerly():
            labels = np.asarray(condition)
            self.check_labels(np.where(labels == UNLABELLED, 0, labels))
        condition = tf.reshape(tf.cast(condition, tf.int32), [-1])
        return tf.where(condition == UNLABELLED, found, condition)

    def trace(
        self,
        x: tf.Tensor,
        samples: int = 1,
        seed: tf.Tensor | int = 0,
        *,
        target: tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
        weight: tf.Tensor | None = None,
        training: bool = False,
        position: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
        **others: Any,
    ) -> Trace:
        """Pass a batch through the model under every class.

        The arguments are those of :meth:`tfvae.VAE.trace`. The condition is a label, -1 where there
        is none, and None where there are none at all; the noise of an example is the same under
        all classes.
        """
        x, classes = self.as_data(x), self.rows_per_draw
        batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
        if condition is None:
            condition = tf.fill([batch], UNLABELLED)
        condition = tf.reshape(tf.cast(condition, tf.int32), [-1])
        known = condition != UNLABELLED
        log_q = tf.nn.log_softmax(self._logits(x, training))
        one = tf.one_hot(condition, classes, dtype=log_q.dtype)
        # Of a stream not all labels are checked: one of no class leaves nothing finite.
        fits = ~known | ((condition >= 0) & (condition < classes))
        one = tf.where(fits[:, None], one, tf.constant(math.nan, one.dtype))
        share = tf.where(known[:, None], one, tf.exp(log_q))
        entropy = tf.where(known, tf.zeros_like(log_q[:, 0]), -tf.reduce_sum(share * log_q, -1))
        each = super().trace(
            tf.repeat(x, classes, axis=0),
            samples,
            seed,
            target=None if target is None else tf.repeat(self.as_data(target), classes, axis=0),
            condition=tf.tile(tf.range(classes), [batch]),
            training=training,
            position=None if position is None else position * classes,
            noise=None if noise is None else tf.repeat(noise, classes, axis=1),
        )
        return ClassTrace(
            x=x if target is None else self.as_data(target),
            latents=each.latents,
            decode=each.decode,
            condition=condition,
            weight=weight,
            training=training,
            step=each.step,
            dataset_size=self.dataset_size,
            log_label=tf.reduce_sum(one * log_q, axis=-1),
            labelled=tf.convert_to_tensor(self.labelled),
            each=each,
            share=share,
            kl_class=math.log(classes) - entropy,
            possible=tf.where(known[:, None] & (one != 1), -math.inf, tf.zeros_like(one)),
            known=known,
            right=tf.argmax(log_q, axis=-1, output_type=tf.int32) == condition,
            **others,
        )

    def latents(
        self, x: tf.Tensor, samples: int = 1, seed: Any = 0, *, condition: Any = None, **others: Any
    ) -> Any:
        """Return the latents of examples of the classes that they have, or most likely have."""
        given = self.given(x, condition)
        return super().trace(x, samples, seed, condition=given, **others).latents

    def score(self, x: Any, *, condition: Any = None, **options: Any) -> Scores:
        """Return the bounds on log p(x) of each row, or on log p(x, y) of rows with a label.

        Args, limits and errors are those of :meth:`tfvae.VAE.score`.
        """
        labels = np.full(len(x), UNLABELLED) if condition is None else np.asarray(condition)
        column = labels.ndim == 2 and labels.shape[1] == 1
        return super().score(x, condition=labels[:, 0] if column else labels, **options)

    def _update_metrics(
        self, trace: Trace, loss: tf.Tensor, share: Share | None, good: tf.Tensor | None = None
    ) -> None:
        super()._update_metrics(trace, loss, share, good)
        assert isinstance(trace, ClassTrace)
        counted = tf.cast(trace.known, tf.float32)
        # Not of a replica without examples, nor of a step that was skipped.
        for used in (None if share is None else share.fraction > 0, good):
            counted = counted if used is None else counted * tf.cast(used, tf.float32)
        self._accuracy.update_state(tf.cast(trace.right, tf.float32), sample_weight=counted)

    def logs(self, *, training: bool = True) -> dict[str, float]:
        """Return the metrics as numbers; without the accuracy where no label was seen."""
        found = super().logs(training=training)
        return {name: value for name, value in found.items() if not _absent(name, value)}

    @property
    def own_config(self) -> dict[str, Any]:
        """The classifier, as it can be saved."""
        return {"classifier": keras.saving.serialize_keras_object(self.classifier)}


class _Accuracy(keras.metrics.Mean):
    """A share of labelled examples; NaN where there were none."""

    def result(self) -> tf.Tensor:
        return tf.where(tf.convert_to_tensor(self.count) > 0, super().result(), math.nan)


def _absent(name: str, value: float) -> bool:
    return name == "accuracy" and math.isnan(value)


def _counts(examples: Examples | Records) -> dict[int, int]:
    """Return how often each label is among the examples."""
    if not isinstance(examples, Records):
        found = () if examples.y is None else np.unique(examples.y, return_counts=True)
        return dict(zip(*(each.tolist() for each in found), strict=True)) if found else {}
    if examples.labelled and examples.label_counts is None:
        raise ValueError(
            "Expected records whose labels were counted as they were written. Received: "
            f"{examples.folder}, where they were not. Convert the data again, or read them into "
            "memory: records.examples()."
        )
    return examples.label_counts or {}


def _check_objective(objective: Objective) -> None:
    """Refuse objectives that look at draws of z, each of which here belongs to one class."""
    for _, term in getattr(objective, "terms", ((1.0, objective),)):
        if isinstance(term, objectives.ELBO):
            how = (term.kl, term.gradient, term.free_bits_per)
            fits = how == ("closed_form", "plain", "group")
        elif isinstance(term, objectives.IWAE):
            fits = term.gradient == "plain"
        else:
            fits = isinstance(term, _SUMMED)
        if not fits:
            raise ValueError(
                "Expected an objective of quantities that are summed over the classes: ELBO with "
                "closed-form KL, plain gradient and free bits for groups, IWAE with the plain "
                "gradient, MIWAE, Reconstruction, Capacity and Classification. "
                f"Received: {term}."
            )


_SUMMED = (
    objectives.MIWAE,
    objectives.Reconstruction,
    objectives.Capacity,
    objectives.Classification,
)
