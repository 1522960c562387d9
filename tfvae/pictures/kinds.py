"""The kinds of pictures: a table, what can be drawn of a model, and drawing it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae import drawing, extras
from tfvae.export.errors import did_you_mean
from tfvae.pictures import (
    course,
    images,
    interpolation,
    latents,
    levels,
    positions,
    sequences,
    traversals,
)
from tfvae.pictures.subject import (
    Obstacle,
    Subject,
    no_conditions,
    no_examples,
    no_history,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        function: draws it of a :class:`Subject`; its keyword arguments are the kind's options.
        needs: what has to be there: each says why it is not, or None.
        trains: whether drawing it trains models.
        waived: obstacles that are none where an option is given, by the option.
    """

    function: Callable[..., Figure]
    needs: tuple[Obstacle, ...]
    trains: bool = False
    waived: Mapping[str, Obstacle] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What it shows, in a line."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """What can be said about how it is drawn."""
        _, *rest = inspect.signature(self.function).parameters.items()
        return dict(rest)

    def obstacle(self, subject: Subject, given: Collection[str] = ()) -> str | None:
        """Say why it cannot be drawn, with the options given; or return None."""
        without = extras.missing(*extras.MATPLOTLIB)
        if without is not None:
            return without
        others = (need for option, need in self.waived.items() if option not in given)
        reasons = (need(subject) for need in (*self.needs, *others))
        return next((reason for reason in reasons if reason), None)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(images.samples, (images.no_samples,)),
        Kind(images.reconstructions, (images.no_pairs, no_examples, no_conditions)),
        Kind(
            traversals.manifold, (traversals.no_traversals,), waived={"dims": traversals.no_plane}
        ),
        Kind(traversals.traversals, (traversals.no_traversals,)),
        Kind(interpolation.interpolation, (interpolation.no_interpolation,)),
        Kind(levels.levels, (levels.no_levels,)),
        Kind(sequences.forecast, (sequences.no_forecast, no_examples)),
        Kind(latents.scatter, (no_examples, no_conditions)),
        Kind(latents.kl, (positions.no_measure, no_conditions)),
        Kind(latents.codebook, (latents.no_codebook, no_examples)),
        Kind(latents.spaces, (latents.no_spaces, no_examples, no_conditions), trains=True),
        Kind(course.training, (no_history,)),
    )
}
"""Kinds of pictures by their names."""


def draw(
    kind: str,
    vae: tfvae.VAE,
    examples: Any = None,
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    classes: Sequence[str] = (),
    image_shape: tuple[int, ...] | None = None,
    **options: Any,
) -> Figure:
    """Draw a picture of a model.

    Args:
        kind: one of `KINDS`.
        vae: the model.
        examples: arrays [N, *data], a pair of them and labels or conditions (x, y), Examples or
            Records.
        history: the terms of each epoch, as in ``fit(...).history``.
        seed: of everything random in it.
        path: where to save the picture, whole or not at all.
        classes: names of the labels 0, 1, ...
        image_shape: the height and width of flat images.
        **options: the kind's own, which ``KINDS[kind].options`` lists.

    Returns:
        The figure.

    Raises:
        ValueError: for an unknown kind or option (the nearest is suggested), for what cannot be
            drawn of this model, and for data that do not fit it.
        OSError: if the picture cannot be written.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> figure = tfvae.pictures.draw("samples", vae, n=9)
        >>> [kind for kind, reason in tfvae.pictures.available(vae).items() if reason is None]
        ['samples'...]
    """
    chosen = find(kind)
    check_options(chosen, options)
    if path is not None:
        drawing.ending_of(path)  # before any work
    subject = Subject.of(
        vae, examples, history=history, seed=seed, classes=classes, image_shape=image_shape
    )
    if reason := chosen.obstacle(subject, options):
        raise ValueError(f"Could not draw {kind!r}: {reason}.")
    return drawing.save(chosen.function(subject, **options), path)


def available(
    vae: tfvae.VAE,
    examples: Any = None,
    history: Mapping[str, Sequence[float]] | None = None,
    **known: Any,
) -> dict[str, str | None]:
    """Say of each kind why it cannot be drawn of a model, in words; None where it can be.

    Args and errors are those of :func:`draw`.
    """
    subject = Subject.of(vae, examples, history=history, **known)
    return {name: kind.obstacle(subject) for name, kind in KINDS.items()}


def find(kind: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ValueError: if there is none of that name (the nearest is suggested).
    """
    if kind not in KINDS:
        raise ValueError(
            f"Expected `kind` to be one of {', '.join(KINDS)}. Received: kind={kind!r}."
            f"{did_you_mean(str(kind), KINDS)}"
        )
    return KINDS[kind]


def check_options(kind: Kind, options: Mapping[str, Any]) -> None:
    """Refuse options that a kind does not have.

    Raises:
        ValueError: and suggests the nearest.
    """
    for name in options:
        if name not in kind.options:
            known = ", ".join(kind.options) or "none"
            raise ValueError(
                f"Expected options of {kind.name!r}: {known}. Received: {name!r}."
                f"{did_you_mean(name, kind.options)}"
            )
