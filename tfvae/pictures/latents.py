"""Where a model puts examples, and how much its latents say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import tfvae
from tfvae import extras, plots
from tfvae.drawing import positive
from tfvae.pictures.positions import codes_of, measured
from tfvae.pictures.subject import Array, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["auto", "pca", "umap"]


def scatter(
    subject: Subject, *, labels: bool | None = None, method: Method = "auto", limit: int = 5000
) -> Figure:
    """The codes of examples, coloured by label: in the plane, or on their principal components.

    Args:
        subject: the model, and its examples.
        labels: colour them: wherever there are labels by default; True insists on them.
        method: how more than two latents come into the plane: "pca", or "umap", which needs the
            package umap-learn.
        limit: how many examples are shown, at most.
    """
    kinds = None if labels is False else subject.labels
    if labels and kinds is None:
        raise ValueError(
            "Expected examples with labels, [N], to colour them by. Received: none. Pass them, "
            "(x, y), or leave out labels=True."
        )
    shown = positive("limit", limit)
    codes = codes_of(subject, shown)
    points, axes = in_plane(codes, method, subject.seed)
    total = len(subject.x)
    notes = [f"the first {shown:,} of {total:,} examples"] if shown < total else []
    if kinds is None and labels is None:
        notes.append("not coloured, for there are no labels")
    standard = isinstance(subject.vae.latent_priors[0], tfvae.priors.StandardNormal)
    direct = codes.shape[1] == 2 and method == "auto"
    if direct and standard:
        notes.append("circles: 1, 2 and 3 standard deviations of the prior")
    return plots.scatter(
        points,
        None if kinds is None else kinds[:shown],
        names=subject.names,
        axes=axes,
        circles=(1, 2, 3) if direct and standard else (),
        note="; ".join(notes) or None,
    )


def in_plane(codes: Array, method: Method, seed: int) -> tuple[Array, tuple[str, str]]:
    """Return codes [N, d] as points in the plane [N, 2], or on a line, and what the axes are."""
    if method not in ("auto", "pca", "umap"):
        raise ValueError(
            f'Expected `method` to be "auto", "pca" or "umap". Received: method={method!r}.'
        )
    if codes.shape[1] == 1 or (codes.shape[1] == 2 and method == "auto"):
        return codes, ("z₀", "z₁") if codes.shape[1] == 2 else ("z", "")
    if method == "umap":
        extras.check("umap", 'which method="umap" is; "pca" needs none', "'tfvae[umap]'")
        import umap  # type: ignore[import-not-found]

        reduced = umap.UMAP(random_state=seed, n_jobs=1).fit_transform(codes)
        return np.asarray(reduced), ("UMAP 1", "UMAP 2")
    centred = codes.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    # Of either of two directions, that in which the largest part is positive.
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    points = centred @ (directions[:2] * signs[:2, None]).T
    shares = lengths**2 / max(np.sum(lengths**2), np.finfo(np.float64).tiny)
    if points.shape[1] == 1:  # a single example
        points, shares = np.pad(points, ((0, 0), (0, 1))), np.pad(shares, (0, 1))
    names = [f"principal component {i + 1} ({100 * shares[i]:.0f}%)" for i in range(2)]
    return points, (names[0], names[1])


def kl(subject: Subject, *, threshold: float = 0.01, samples: int = 8) -> Figure:
    """How much each latent says of the examples: its KL, the most first; of a hierarchy by level.

    Args:
        subject: the model, and its examples.
        threshold: nats above which a latent counts as in use.
        samples: draws of each example where the KL is not known in closed form.
    """
    found = measured(subject, samples)
    levels = [f"z_{level}" for level in range(len(found.groups))]
    return plots.kl(
        found.groups,
        names=levels if len(levels) > 1 else (),
        threshold=threshold,
        measure=found.measure,
    )


def spaces(
    subject: Subject,
    *,
    models: Mapping[str, Any] | Sequence[Any] | None = None,
    epochs: int | None = None,
    steps: int = 1500,
    batch_size: int = 64,
    limit: int = 2000,
    method: Method = "auto",
) -> Figure:
    """The latent space under reconstruction alone, the KL alone, and both: three models trained.

    They are the model anew, each with another objective, trained on the examples: what the two
    terms of the ELBO pull codes to, and what comes of both.

    Args:
        subject: the model, and its examples.
        models: three trained models in this order, or models by what they are called; then none is
            trained.
        epochs: how long each is trained; by default for about `steps` steps.
        steps: of training.
        batch_size: examples in a step.
        limit: how many examples are shown, at most.
        method: as of 'scatter'.
    """
    if models is None:
        rounds = epochs or max(1, round(steps * batch_size / len(subject.x)))
        models = trained(subject, rounds, batch_size)
    elif not isinstance(models, Mapping):
        if len(models) != len(TERMS):
            raise ValueError(
                f"Expected `models` to be {len(TERMS)}: of {', '.join(TERMS)}. Received: "
                f"{len(models)}; or pass a dictionary of any."
            )
        models = dict(zip(TERMS, models, strict=True))
    points, kinds = {}, subject.labels
    for name, model in models.items():
        other = Subject.of(model, (subject.x, subject.beside()))
        points[name], axes = in_plane(codes_of(other, limit), method, subject.seed)
    shown = min(limit, len(subject.x))
    return plots.spaces(
        points,
        None if kinds is None else kinds[:shown],
        names=subject.names,
        axes=axes if len({point.shape for point in points.values()}) == 1 else ("", ""),
        note="axes differ between panels",
    )


TERMS = ("reconstruction only", "KL only", "both: the ELBO")
"""What the models of 'spaces' are trained on."""


def trained(subject: Subject, epochs: int, batch_size: int) -> dict[str, Any]:
    """Train the model anew on each of `TERMS`."""
    import keras

    vae, o = subject.vae, tfvae.objectives
    # The distance of the KL from 0 is the KL.
    objectives = o.Reconstruction(), o.Capacity(0.0), o.ELBO()
    models = {}
    for name, objective in zip(TERMS, objectives, strict=True):
        config = vae.get_config() | {
            "objective": keras.saving.serialize_keras_object(objective), "name": "space",
        }  # fmt: skip
        model = type(vae).from_config(config)
        model.decoder.trainable = name != TERMS[1]  # the KL has no gradient there
        model.compile(keras.optimizers.Adam(1e-3, clipnorm=10.0))
        model.fit(subject.x, subject.beside(), epochs=epochs, batch_size=batch_size, verbose=0)
        models[name] = model
    return models


def no_spaces(subject: Subject) -> str | None:
    """Say why there are no three spaces to compare."""
    vae = subject.vae
    if type(vae) is not tfvae.VAE or vae.latent_priors[0].support.kind != "interval":
        return "it trains the model on each term of the ELBO; a plain VAE of real latents is needed"
    if not (vae.posterior.has_density and vae.prior.has_density):
        return "it trains the model on each term of the ELBO, which this model does not have"
    if not vae.posterior.reparameterised:
        return "it trains by gradients through draws, which this posterior does not have"
    return None


def codebook(subject: Subject, *, limit: int = 2000) -> Figure:
    """How often each code of a codebook is used, and the perplexity.

    Args:
        subject: the model, and its examples.
        limit: how many examples are encoded, at most.
    """
    vae, counts = subject.vae, np.zeros(subject.vae.posterior.codes)
    count = min(positive("limit", limit), len(subject.x))
    for start in range(0, count, 256):
        rows = slice(start, min(start + 256, count))
        codes = vae.encode(vae.as_data(subject.x[rows]), condition=subject.beside(rows)).codes
        counts += np.bincount(np.ravel(codes), minlength=len(counts))
    return plots.codebook(counts, note=f"of {int(counts.sum()):,} vectors of {count:,} examples")


def no_codebook(subject: Subject) -> str | None:
    """Say that there are no codes."""
    codes = isinstance(subject.vae.posterior, tfvae.layers.VectorQuantizer)
    return None if codes else "it counts the codes of a codebook; this model has none"
