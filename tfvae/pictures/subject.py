"""What a picture is drawn of: a model, examples, a history; and what stands in the way of one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tfvae

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """A model, and what is known beside it.

    Attributes:
        vae: the model.
        examples: what it models, checked, with what it is given beside it; or None.
        history: the terms of each epoch, as in ``fit(...).history``; or None.
        seed: of everything random.
        classes: names of the labels 0, 1, ...
        image_shape: the shape that data are drawn in; the data's own by default.
    """

    vae: tfvae.VAE
    examples: tfvae.data.Examples | None = None
    history: Mapping[str, Sequence[float]] | None = None
    seed: int = 0
    classes: Sequence[str] = ()
    image_shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, vae: tfvae.VAE, examples: Any = None, **known: Any) -> Subject:
        """Check examples: arrays, a pair of them (x, y), Examples or Records.

        Raises:
            ValueError: for data that do not fit the model, or an image shape of another size.
        """
        if examples is not None:
            from tfvae import intake

            x, y = examples if isinstance(examples, tuple) else (examples, None)
            examples = intake.examples(vae.likelihood, *vae.arrange(x, y, argument="examples"))
        shape = tuple(known.pop("image_shape", None) or vae.data_shape)
        if math.prod(shape) != math.prod(vae.data_shape):
            raise ValueError(
                f"Expected `image_shape` of {math.prod(vae.data_shape)} values, as an example of "
                f"shape {vae.data_shape} has. Received: image_shape={shape}."
            )
        return cls(vae, examples, image_shape=shape, **known)

    @functools.cached_property  # of binarised examples it is a draw
    def x(self) -> Array:
        """The examples' values, [N, *data]."""
        assert self.examples is not None
        return self.examples.values()

    def beside(self, rows: Any = slice(None)) -> Array | None:
        """Return what the model is given beside some of the examples; None of most models."""
        if self.examples is None or self.examples.y is None or not self.vae.reads_y:
            return None
        return np.asarray(self.examples.y[rows])

    @property
    def labels(self) -> Array | None:
        """A label of each example, [N]; None where what is known is no label."""
        vae, y = self.vae, None if self.examples is None else self.examples.y
        other = tfvae.families.SupervisedVAE, tfvae.families.SequentialVAE
        if y is None or (isinstance(vae, other) and vae.reads_y):
            return None
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        elif y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
            y = y.argmax(axis=1)
        return y if y.ndim == 1 else None

    @property
    def names(self) -> dict[int, str]:
        """What labels are called, by label."""
        missing = self.vae.missing_label
        return dict(enumerate(self.classes)) | ({} if missing is None else {missing: "no label"})

    def named(self, label: Any) -> str:
        """Return what a label is called."""
        known = isinstance(label, int | np.integer) and 0 <= label < len(self.classes)
        return self.classes[int(label)] if known else f"{label:g}"

    @property
    def size(self) -> int:
        """How many values one z has."""
        return math.prod(self.vae.latent_shape)

    def images(self, values: Any) -> Array:
        """Return data as images, of which 0 is black and 1 white: the ends of the `span`."""
        pixels = np.asarray(values, np.float32)
        pixels = pixels.reshape(-1, *self.image_shape)
        low, high = self.span
        return (
            pixels if self.span == (0, 1) else (pixels - np.float32(low)) / np.float32(high - low)
        )

    @functools.cached_property
    def span(self) -> tuple[float, float]:
        """The values that are black and white: 0 and 1, or as far beyond them as data go."""
        support = self.vae.likelihood.support
        if support.bounds == (0.0, 1.0):
            return 0.0, 1.0
        if support.kind == "integers":
            return 0.0, max(1.0, float(np.max(self._counts())))
        if self.examples is None:
            return 0.0, 1.0
        return min(0.0, float(np.min(self.x))), max(1.0, float(np.max(self.x)))

    def _counts(self) -> Array:
        """Return the examples, or of a model without any what it draws."""
        if self.examples is not None:
            return self.x
        vae = self.vae
        given = np.arange(64) % vae.classes if vae.conditional and vae.classes else None
        return np.asarray(vae.generate(64, seed=self.seed, condition=given).mean)

    def noted(self, *notes: str) -> str | None:
        """Return what is said below images, with the values that are black and white."""
        bounded = self.vae.likelihood.support.bounds == (0.0, 1.0)
        plain = self.span == (0, 1) and (bounded or self.examples is not None)
        ends = " to ".join(f"{end:.3g}" for end in self.span).replace("-", "\N{MINUS SIGN}")
        every = (*notes, "" if plain else f"black to white: {ends}")
        return "; ".join(note for note in every if note) or None

    @property
    def prior_note(self) -> str:
        """Say that draws from the prior are of one that nothing has brought to the codes."""
        from tfvae.objectives import MMD

        vae = self.vae
        terms = getattr(vae.objective, "terms", ((1.0, vae.objective),))
        held = vae.posterior.has_density or any(isinstance(term, MMD) for _, term in terms)
        # One that is fitted has parameters.
        return "" if held or vae.prior.variables else "the prior was not fitted to the codes"

    def decoded(self, z: Any, condition: Any = None) -> Array:
        """Return the means of p(x|z), [N, *data], of latents [N, *latent]."""
        from tfvae.generation import in_batches

        def rows(z: Any, given: Any = None) -> tuple[Any]:
            return (self.vae.likelihood.mean(self.vae.decoder_params(z, condition=given)),)

        z = np.asarray(z).reshape(-1, *self.vae.latent_shape)
        (mean,) = in_batches(rows, 1024, z.astype(self.vae.prior.compute_dtype), condition)
        return np.asarray(mean)

    def reconstructed(self, rows: Any) -> Array:
        """Return what the model makes of some of the examples, [n, *data]."""
        return np.asarray(self.vae.reconstruct(self.x[rows], self.beside(rows)))


Obstacle = Callable[[Subject], str | None]


def no_images(subject: Subject) -> str | None:
    """Say why data cannot be drawn as images."""
    vae, shape = subject.vae, subject.image_shape
    families = tfvae.families
    if isinstance(vae, families.SentenceVAE):
        return "it draws images, and this is a model of text"
    if isinstance(vae, families.SequentialVAE):
        return "it draws images, and this is a model of sequences"
    if not (len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))):
        return (
            f"it draws images, [height, width] or [height, width, 1 or 3], and data are of shape "
            f"{shape}; if they are flat images, pass image_shape=(height, width)"
        )
    return None


def no_examples(subject: Subject) -> str | None:
    """Say that there are no examples."""
    return "it draws examples; pass some" if subject.examples is None else None


def no_conditions(subject: Subject) -> str | None:
    """Say that the model asks for what the examples lack."""
    vae, examples = subject.vae, subject.examples
    if not vae.conditional or vae.missing_label is not None:
        return None
    if examples is not None and examples.y is not None:
        return None
    return "the model is given a condition with each example; pass them too: (x, y)"


def no_history(subject: Subject) -> str | None:
    """Say that there is nothing known of training."""
    history = subject.history or {}
    terms = ("elbo", "log_likelihood", "kl")
    if any(len(history.get(prefix + term, ())) for term in terms for prefix in ("", "val_")):
        return None
    return "there is no history of training; pass history=fit(...).history"
