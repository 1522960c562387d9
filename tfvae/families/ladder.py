"""The bottom-up network of a hierarchy: one Keras model with an output for each level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfvae import networks


def ladder_encoder(
    trunk: keras.Model,
    params_shapes: Sequence[tuple[int, ...]],
    *,
    hidden: tuple[int, ...] = (128,),
    filters: int | None = None,
    activation: str = "relu",
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    r"""Put the networks of the levels above upon the features of an encoder.

    .. math:: h_0 = \mathrm{trunk}(x), \quad h_l = \mathrm{mlp}_l(h_{l-1}), \quad
        \mathrm{params}_l = W_l h_l + b_l

    The features are what the last layer of the trunk, which emits parameters, is given.

    Args:
        trunk: x to the parameters of level 0: :func:`tfvae.networks.mlp_encoder` or
            ``conv_encoder``.
        params_shapes: what the posteriors of the levels above ask for, level 1's first.
        hidden: widths of the dense layers between two levels.
        filters: of one convolution between two levels, which halves the grid, where latents are
            grids [h, w, channels]; None for dense layers.
        activation: name of a Keras activation for the hidden layers.
        seed: of the initial weights; each level's are others.
        name: the model's name.

    Returns:
        A Keras model, x to a list of the levels' parameters; with one level, to its parameters.

    Raises:
        ValueError: as :func:`tfvae.networks.mlp_encoder`, and for a trunk with a condition, or
            whose last layer is not called ``params``, as those of `tfvae.networks` are.

    Example:
        >>> trunk = tfvae.networks.mlp_encoder((8, 8), (6,), hidden=(32,))
        >>> ladder = tfvae.families.ladder_encoder(trunk, [(4,)], hidden=(16,))
        >>> [tuple(params.shape) for params in ladder(np.zeros((5, 8, 8)))]
        [(5, 6), (5, 4)]
    """
    if len(trunk.inputs) != 1:
        raise ValueError(
            "Expected `trunk` to have one input, for hierarchies take no condition. "
            f"Received: one with {len(trunk.inputs)}."
        )
    outputs = list(trunk.outputs)
    features = _features(trunk)
    for level, params_shape in enumerate(params_shapes, 1):
        below = tuple(features.shape[1:])
        options: dict[str, Any] = {"activation": activation, "seed": seed + level}
        if filters is None:
            above = networks.mlp_encoder(below, params_shape, hidden=hidden, **options)
        else:
            above = networks.conv_encoder(
                below, params_shape, filters=(filters,), dense=0, **options
            )
        both = keras.Model(above.input, [*above.outputs, _features(above)], name=f"level_{level}")
        params, features = both(features)
        outputs.append(params)
    (x,) = trunk.inputs
    return keras.Model(x, outputs if params_shapes else outputs[0], name=name)


def _features(network: keras.Model) -> keras.KerasTensor:
    """Return what the layer that emits parameters is given."""
    try:
        return network.get_layer("params").input
    except ValueError as error:
        raise ValueError(
            "Expected `trunk` to have a layer called 'params', which emits the parameters and "
            f"whose input are the features. Received: {network.name} without one."
        ) from error
