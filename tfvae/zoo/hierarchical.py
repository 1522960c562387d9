"""Hierarchies of latents."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal, Unpack

import tfvae
from tfvae.zoo.base import Options, vae

if TYPE_CHECKING:
    import keras

Shape = tuple[int, ...]


def hierarchical_vae(
    data_shape: tuple[int, ...],
    latent_dim: tuple[int, ...] | int = (32, 16),
    *,
    inference: Literal["ladder", "bottom_up"] = "ladder",
    between: tuple[int, ...] = (128,),
    grid: bool = False,
    kl_warmup: tuple[int, ...] | int = 0,
    free_bits: tuple[float, ...] | float = 0.0,
    **options: Unpack[Options],
) -> tfvae.families.HierarchicalVAE:
    """Hierarchical VAE: a chain of latents, each level drawn given the one above.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables of each level, that nearest to the data first.
        inference: ``"ladder"`` goes down the levels, merging what the encoder says of each with
            its prior; ``"bottom_up"`` goes up, each level given the draw below it.
        between: widths of the dense layers between two levels; with `grid` one number, the
            filters of the convolution.
        grid: with network="conv", each level is a grid of half the size of the one below, and
            `latent_dim` its channels.
        kl_warmup: steps over which the weight of the KL rises from 0 to 1, one number for each
            level or one for all; 0 for none. Without it a ladder may leave its lowest level
            unused: a fifth of all steps is a beginning.
        free_bits: nats of KL that cost nothing, one number for each level or one for all.
        **options: as of :func:`vae`; `hidden` and `filters` are of the networks between the data
            and the lowest level.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for no level, sizes below 1, an unknown `inference`, warm-ups or free bits for
            another number of levels, more grids than the image can be halved, and as :func:`vae`.

    Slots: prior=StandardNormal, posterior=Normal, likelihood=Bernoulli, objective=ELBO

    Reference: Soenderby et al. (2016), Ladder variational autoencoders, NeurIPS,
        arXiv:1602.02282.
    """
    o, nets, seed = tfvae.objectives, tfvae.networks, options.get("seed", 0)
    dims = (latent_dim,) if isinstance(latent_dim, int) else tuple(latent_dim)
    if not dims:
        raise ValueError(
            "Expected `latent_dim` to hold a number for each level, of which there is at least "
            f"one. Received: latent_dim={latent_dim!r}."
        )
    o.check_choice("inference", inference, ("ladder", "bottom_up"))
    warmups = tuple(kl_warmup) if isinstance(kl_warmup, list | tuple) else (kl_warmup,)
    free = tuple(free_bits) if isinstance(free_bits, list | tuple) else (free_bits,)
    for steps in warmups:
        o.check_samples(steps, minimum=0, argument="kl_warmup")
    betas = tuple(o.LinearWarmup(steps) if steps else 1.0 for steps in warmups)
    objective = o.ELBO(
        beta=betas[0] if len(betas) == 1 else betas,
        free_bits=free[0] if len(free) == 1 else free,
    )
    shapes = _grids(data_shape, dims, between, options) if grid else [(dim,) for dim in dims]
    # What lies between the data and the lowest level is that of the plain VAE.
    flat = vae(data_shape, shapes[0], **options)
    layers = [flat.posterior, *(tfvae.layers.Normal(shape) for shape in shapes[1:])]
    rest: dict[str, Any] = {"activation": options.get("activation", "relu")}

    def network(given: Shape, emitted: Shape, level: int, *, up: bool) -> keras.Model:
        """Return what leads from one level to the next one up, or down."""
        name = f"{'bottom_up' if up else 'top_down'}_{level}"
        named: dict[str, Any] = rest | {"seed": seed + level, "name": name}
        if not grid:
            dense = nets.mlp_encoder if up else nets.mlp_decoder
            return dense(given, emitted, hidden=between, **named)
        named |= {"filters": between, "dense": 0}
        if up:
            return nets.conv_encoder(given, emitted, **named)
        return nets.conv_decoder(given, emitted, data_shape=shapes[level - 1], **named)

    priors: list[tfvae.priors.Prior] = []
    for level, (shape, above) in enumerate(itertools.pairwise(shapes), 1):
        # Bottom-up draws that a narrow prior did not expect cost the square of how many
        # deviations they are off: a floor, which is no limit, for the scale of z is free.
        layer = tfvae.layers.Normal(shape, min_scale=0.1)
        down = network(above, layer.params_shape, level, up=False)
        priors.append(tfvae.priors.Conditional(down, layer, name=f"prior_{level}"))
    encoder, bottom_up = flat.encoder, None
    if inference == "ladder":
        encoder = tfvae.families.ladder_encoder(
            encoder,
            [layer.params_shape for layer in layers[1:]],
            hidden=between,
            filters=between[0] if grid else None,
            seed=seed,
            **rest,
        )
    else:
        bottom_up = [
            network(below, layer.params_shape, level, up=True)
            for level, (below, layer) in enumerate(zip(shapes, layers[1:], strict=False), 1)
        ]
    return tfvae.families.HierarchicalVAE(
        encoder,
        flat.decoder,
        bottom_up,
        priors=[*priors, tfvae.priors.StandardNormal(shapes[-1], name="prior")],
        posteriors=layers,
        likelihood=flat.likelihood,
        objective=objective,
        seed=seed,
    )


def _grids(
    data_shape: Shape, channels: Shape, between: tuple[int, ...], options: Options
) -> list[Shape]:
    """Return the shapes of levels that are grids, each of half the size of the one below."""
    if options.get("network") != "conv" or len(between) != 1:
        raise ValueError(
            'Expected `grid` with network="conv" and one number in `between`. Received: '
            f"network={options.get('network', 'mlp')!r}, between={between}."
        )
    halve, filters = tfvae.networks.smallest_grid, options.get("filters")
    sizes = [halve(data_shape, (32, 64) if filters is None else filters)]
    for _ in channels[1:]:
        sizes.append(halve(sizes[-1], between))
    return [(*size, channel) for size, channel in zip(sizes, channels, strict=True)]
