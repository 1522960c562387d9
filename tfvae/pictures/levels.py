"""What each level of a hierarchy decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import tfvae
from tfvae import plots
from tfvae.drawing import positive
from tfvae.pictures.subject import Subject, no_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def levels(subject: Subject, *, n: int = 10, rows: int = 2) -> Figure:
    """What each level of a hierarchy decides: those above it are kept, it and those below redrawn.

    The first rows are draws from the whole model. Further down, more levels are kept, from the top
    on, and images that have these in common differ by what is left to draw.

    Args:
        subject: a hierarchy.
        n: images in a row.
        rows: for each level, each with levels above of its own.
    """
    vae: Any = subject.vae
    count, repeats = positive("n", n), positive("rows", rows)
    labels, pictures = [], []
    for level in reversed(range(vae.levels)):
        for repeat in range(1 if level == vae.levels - 1 else repeats):
            kept = subject.seed + repeat
            fresh = subject.seed + repeat * count + np.arange(count)
            z = drawn(vae, level, kept, fresh)
            pictures.append(subject.images(subject.decoded(z)))
            labels.append(_named(level, vae.levels))
    note = subject.noted("what is kept is the same along a row, and differs by row")
    return plots.rows(np.stack(pictures), labels, note=note)


def drawn(vae: Any, level: int, kept: int, fresh: Any) -> Any:
    """Draw z_0 with the levels above one of a single seed, and it and those below of their own.

    Args:
        vae: a hierarchy.
        level: the highest that is drawn afresh.
        kept: the seed of those above.
        fresh: the seeds of the others, [n].
    """
    import tensorflow as tf

    from tfvae import random
    from tfvae.generation import base_noise

    z = None
    for place in reversed(range(vae.levels)):
        prior = vae.priors[place]
        seeds = np.full(len(fresh), kept) if place > level else fresh
        stream = random.level(random.LATENT, place)
        (noise,) = base_noise(tf.constant(seeds, tf.int64), [(prior, stream)])
        z = prior.transform(noise, z)
    return z


def _named(level: int, count: int) -> str:
    if level == count - 1:
        return "all levels drawn"
    below = "z_0" if level == 0 else f"z_{level} to z_0"
    above = f"z_{level + 1}" if level + 2 == count else f"z_{level + 1} and above"
    return f"{below} drawn, {above} kept"


def no_levels(subject: Subject) -> str | None:
    """Say why there are no levels to draw."""
    vae = subject.vae
    if not isinstance(vae, tfvae.families.HierarchicalVAE) or vae.levels < 2:
        return "it draws the levels of a hierarchy; this model has one"
    if any(prior.noise is None for prior in vae.priors):
        return "a level's prior is no map of base noise, which could be kept"
    return no_images(subject)
