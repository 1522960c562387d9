"""Networks: encoders and decoders as plain Keras models.

Every builder returns an ordinary Functional model that emits a *parameter tensor*; what the
numbers mean is a distribution layer's business. Nothing of this package is inside, so a network
saves, reloads and converts with Keras alone.

Initial weights keep the variance of what flows through them: each kernel is drawn from a
truncated normal with Var[w] = gain / n, where n is how many terms are summed into one output and
gain is 2 after a rectifier (He et al., 2015, https://arxiv.org/abs/1502.01852) and 1 otherwise.
Biases are zero. Each kernel's seed is a function of `seed`, of whether it is in an encoder or a
decoder, and of the layer's position: no global random state is read or advanced.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np

from tfvae.initialisers import Initialisers, Role, gain_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["conv_decoder", "conv_encoder", "mlp_decoder", "mlp_encoder"]

Condition: TypeAlias = "int | tuple[int, ...] | None"
"""What a network is given beside its input: labels of so many classes, vectors of a shape."""

# A kernel that is a multiple of the stride touches every pixel equally often; 3 over 2 does not,
# and transposed convolutions then leave a checkerboard.
_KERNEL, _STRIDE = 4, 2
# These change the number of features or need arguments: they are no hidden activations.
_NOT_ACTIVATIONS = frozenset({"deserialize", "get", "glu", "serialize", "threshold"})


def mlp_encoder(
    data_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    *,
    hidden: tuple[int, ...] = (512, 256),
    activation: str = "relu",
    condition: Condition = None,
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    """Dense encoder: x [B, *data_shape] -> parameters [B, *params_shape].

    h_0 = flatten(x), h_i = activation(W_i h_{i-1} + b_i), parameters = W h + b.

    Args:
        data_shape: Shape of one example, any rank from 1.
        params_shape: What the posterior asks for (`posterior.params_shape`).
        hidden: Units of each hidden layer; `()` makes the network linear.
        activation: Name of a Keras activation for the hidden layers.
        condition: What the network is given beside its input, as a second one: a number of
            classes, whose labels are integers, or the shape of a vector; None for nothing.
        seed: Seed of the initial weights; the same seed gives the same weights.
        name: The model's name.

    Returns:
        A Keras model. It emits float32 under a half-precision policy, float64 under float64.

    Raises:
        ValueError: A shape, a size or the seed is no such integer, or the activation is unknown.

    Example:
        >>> mlp_encoder((28, 28), (40,), hidden=(64,)).output_shape
        (None, 40)
    """
    data_shape = _shape("data_shape", data_shape)
    init = _Initialisers(seed, Role.ENCODER, activation)
    return _mlp("x", data_shape, params_shape, condition, hidden=hidden, init=init, name=name)


def mlp_decoder(
    latent_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    *,
    hidden: tuple[int, ...] = (256, 512),
    activation: str = "relu",
    condition: Condition = None,
    seed: int = 0,
    name: str = "decoder",
) -> keras.Model:
    """Dense decoder: z [B, *latent_shape] -> parameters [B, *params_shape].

    The same network as `mlp_encoder`, the other way round, with weights of its own: an encoder
    and a decoder built from one seed do not share a random stream.

    Args:
        latent_shape: Shape of one latent draw, any rank from 1.
        params_shape: What the likelihood asks for (`likelihood.params_shape`).
        hidden: Units of each hidden layer; `()` makes the network linear.
        activation: Name of a Keras activation for the hidden layers.
        condition: What the network is given beside its input, as a second one: a number of
            classes, whose labels are integers, or the shape of a vector; None for nothing.
        seed: Seed of the initial weights.
        name: The model's name.

    Returns:
        A Keras model. It emits float32 under a half-precision policy, float64 under float64.

    Raises:
        ValueError: As `mlp_encoder`.

    Example:
        >>> mlp_decoder((2,), (28, 28), hidden=(64,)).output_shape
        (None, 28, 28)
    """
    latent_shape = _shape("latent_shape", latent_shape)
    init = _Initialisers(seed, Role.DECODER, activation)
    return _mlp("z", latent_shape, params_shape, condition, hidden=hidden, init=init, name=name)


def conv_encoder(
    data_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    *,
    filters: tuple[int, ...] = (32, 64),
    dense: int = 128,
    activation: str = "relu",
    condition: Condition = None,
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    """Convolutional encoder: x [B, H, W(, C)] -> parameters [B, *params_shape].

    One stride-2 convolution per entry of `filters`, each turning a side of n into ceil(n / 2),
    then a dense layer, then the linear layer that emits the parameters. Any image size works.
    Where the parameters are a grid [h, w, k] of the last convolution's size, as for the codes of
    a VQ-VAE, the network stays convolutional: a 1x1 convolution emits them.

    Args:
        data_shape: Image shape, (H, W) or (H, W, C).
        params_shape: What the posterior asks for.
        filters: Channels after each halving, at most ceil(log2(max(H, W))) of them.
        dense: Units of the dense layer before the last; 0 leaves it out.
        activation: Name of a Keras activation.
        condition: What the network is given beside its input, as a second one: a number of
            classes, whose labels are integers, or the shape of a vector; None for nothing.
        seed: Seed of the initial weights.
        name: The model's name.

    Returns:
        A Keras model. It emits float32 under a half-precision policy, float64 under float64.

    Raises:
        ValueError: The data is not an image, there are more stages than the image can be halved,
            a size is not a positive integer, or the activation is unknown.

    Example:
        >>> conv_encoder((33, 17, 3), (8,), filters=(4, 8, 8), dense=0).output_shape
        (None, 8)
    """
    ladder, channels = _image("data_shape", data_shape, filters, "mlp_encoder")
    params_shape = _shape("params_shape", params_shape)
    _sizes("dense", (dense,), least=0)
    init = _Initialisers(seed, Role.ENCODER, activation)
    inputs = keras.Input(tuple(data_shape), dtype=end_dtype(), name="x")
    h = inputs
    if len(data_shape) == 2:
        h = keras.layers.Reshape((*ladder[0], channels), name="to_image")(h)
    for i, width in enumerate(filters, 1):
        h = keras.layers.Conv2D(
            width,
            _KERNEL,
            strides=_STRIDE,
            padding="same",
            activation=activation,
            kernel_initializer=init.hidden(),
            name=f"conv_{i}",
        )(h)
    if len(params_shape) == 3 and params_shape[:2] == ladder[-1]:
        _no_grid(condition, "params_shape", params_shape)
        emitted = keras.layers.Conv2D(
            params_shape[2], 1, kernel_initializer=init.linear(), dtype=end_dtype(), name="params"
        )(h)
        return keras.Model(inputs, emitted, name=name)
    h, given = _beside(keras.layers.Flatten(name="flatten")(h), condition)
    if dense:
        h = keras.layers.Dense(
            dense, activation=activation, kernel_initializer=init.hidden(), name="dense"
        )(h)
    return keras.Model(
        [inputs, *given] if given else inputs, _emit(h, params_shape, init), name=name
    )


def smallest_grid(data_shape: tuple[int, ...], filters: tuple[int, ...]) -> tuple[int, int]:
    """Return the size of an image that `conv_encoder` has halved once for each of `filters`.

    Example:
        >>> smallest_grid((28, 28, 1), (32, 64))
        (7, 7)
    """
    ladder, _ = _image("data_shape", data_shape, filters, "mlp_encoder")
    return ladder[-1]


def conv_decoder(
    latent_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    *,
    data_shape: tuple[int, ...],
    filters: tuple[int, ...] = (64, 32),
    dense: int = 128,
    activation: str = "relu",
    condition: Condition = None,
    seed: int = 0,
    name: str = "decoder",
) -> keras.Model:
    """Convolutional decoder: z [B, *latent_shape] -> parameters [B, *params_shape].

    The mirror image of `conv_encoder`: dense layers make the smallest grid of the encoder's size
    ladder with `filters[0]` channels, and one stride-2 transposed convolution per entry of
    `filters` doubles it (cropped by a pixel where the ladder has an odd size) up to `data_shape`.
    Latents that are such a grid already meet a convolution instead of the dense layers. The last
    layer is linear and emits each pixel's parameters.

    Args:
        latent_shape: Shape of one latent draw, any rank from 1.
        params_shape: What the likelihood asks for: (H, W, P) for an image (H, W, C), whatever
            P is; (H, k W), k blocks side by side, for an image (H, W).
        data_shape: Image shape, (H, W) or (H, W, C).
        filters: Channels of each grid, from the smallest up; the encoder's, reversed.
        dense: Units of the dense layer before the grid; 0 leaves it out.
        activation: Name of a Keras activation.
        condition: What the network is given beside its input, as a second one: a number of
            classes, whose labels are integers, or the shape of a vector; None for nothing.
        seed: Seed of the initial weights.
        name: The model's name.

    Returns:
        A Keras model. It emits float32 under a half-precision policy, float64 under float64.

    Raises:
        ValueError: As `conv_encoder`, or `params_shape` is not parameters for each pixel.

    Example:
        >>> conv_decoder((2,), (7, 10), data_shape=(7, 5), filters=(8, 4)).output_shape
        (None, 7, 10)
    """
    latent_shape = _shape("latent_shape", latent_shape)
    ladder, _ = _image("data_shape", data_shape, filters, "mlp_decoder")
    params_shape = _shape("params_shape", params_shape)
    grey = len(data_shape) == 2
    # An image (H, W) has its parameters side by side along W, one with channels along these.
    per_pixel, rest = divmod(params_shape[-1], data_shape[-1] if grey else 1)
    if rest or len(params_shape) != len(data_shape) or params_shape[:-1] != tuple(data_shape[:-1]):
        raise ValueError(
            "Expected params_shape to be (H, W, any) for an image (H, W, C), or (H, a multiple of "
            f"W) for an image (H, W). Received: params_shape={params_shape}, "
            f"data_shape={tuple(data_shape)}; pass likelihood.params_shape, or use mlp_decoder, "
            "which emits any shape."
        )
    _sizes("dense", (dense,), least=0)
    init = _Initialisers(seed, Role.DECODER, activation)
    inputs = keras.Input(latent_shape, dtype=end_dtype(), name="z")
    *ladder_up, smallest = ladder
    given: list[Any] = []
    if len(latent_shape) == 3 and latent_shape[:2] == smallest:
        _no_grid(condition, "latent_shape", latent_shape)
        h = keras.layers.Conv2D(
            filters[0],
            _KERNEL - 1,
            padding="same",
            activation=activation,
            kernel_initializer=init.hidden(),
            name="grid",
        )(inputs)
    else:
        h, given = _beside(_flat(inputs, latent_shape), condition)
        grid_units = math.prod(smallest) * filters[0]
        for layer_name, units in (("dense", dense), ("grid", grid_units)):
            if units:
                h = keras.layers.Dense(
                    units, activation=activation, kernel_initializer=init.hidden(), name=layer_name
                )(h)
        h = keras.layers.Reshape((*smallest, filters[0]), name="to_grid")(h)
    widths = (*filters[1:], per_pixel)
    small = smallest
    for i, (size, width) in enumerate(zip(reversed(ladder_up), widths, strict=True), 1):
        last = i == len(widths)
        dtype = end_dtype() if last else None
        h = keras.layers.Conv2DTranspose(
            width,
            _KERNEL,
            strides=_STRIDE,
            padding="same",
            activation=None if last else activation,
            kernel_initializer=init.transposed(linear=last),
            dtype=dtype,
            name="params" if last else f"conv_{i}",
        )(h)
        surplus = tuple((0, _STRIDE * a - b) for a, b in zip(small, size, strict=True))
        if any(after for _, after in surplus):
            h = keras.layers.Cropping2D(surplus, dtype=dtype, name=f"crop_{i}")(h)
        small = size
    if grey:
        if per_pixel > 1:  # [H, W, k] holds the blocks pixel by pixel; params_shape side by side
            h = keras.layers.Permute((1, 3, 2), dtype=end_dtype(), name="to_blocks")(h)
        h = keras.layers.Reshape(params_shape, dtype=end_dtype(), name="to_params")(h)
    return keras.Model([inputs, *given] if given else inputs, h, name=name)


def _mlp(
    input_name: str,
    in_shape: tuple[int, ...],
    params_shape: tuple[int, ...],
    condition: Condition,
    *,
    hidden: tuple[int, ...],
    init: _Initialisers,
    name: str,
) -> keras.Model:
    params_shape = _shape("params_shape", params_shape)
    inputs = keras.Input(in_shape, dtype=end_dtype(), name=input_name)
    h, given = _beside(_flat(inputs, in_shape), condition)
    for i, units in enumerate(_sizes("hidden", hidden), 1):
        h = keras.layers.Dense(
            units, activation=init.activation, kernel_initializer=init.hidden(), name=f"dense_{i}"
        )(h)
    return keras.Model(
        [inputs, *given] if given else inputs, _emit(h, params_shape, init), name=name
    )


def _beside(h: Any, condition: Condition) -> tuple[Any, list[Any]]:
    """Put the features of a condition beside others [B, F]; return both, and the inputs."""
    if condition is None:
        return h, []
    if isinstance(condition, int | np.integer):
        (classes,) = _sizes("condition", (condition,), least=2)
        given = keras.Input((), dtype="int32", name="condition")
        # It begins as one-hot vectors.
        features = keras.layers.Embedding(
            classes, classes, embeddings_initializer="identity", name="label"
        )(given)
    else:
        shape = _shape("condition", condition)
        given = keras.Input(shape, dtype=end_dtype(), name="condition")
        features = given if len(shape) == 1 else keras.layers.Flatten(name="to_vector")(given)
    return keras.layers.Concatenate(name="beside")([h, features]), [given]


def _no_grid(condition: Condition, argument: str, shape: tuple[int, ...]) -> None:
    if condition is not None:
        raise ValueError(
            "Expected no condition for latents that are a grid, beside which a vector has no "
            f"place. Received: condition={condition!r} with {argument}={shape}; give latents (d,)."
        )


def _flat(x: Any, shape: tuple[int, ...]) -> Any:
    return x if len(shape) == 1 else keras.layers.Flatten(name="flatten")(x)


def _emit(h: Any, params_shape: tuple[int, ...], init: _Initialisers) -> Any:
    """The last, linear layer: features [B, F] -> parameters [B, *params_shape]."""
    dtype = end_dtype()
    h = keras.layers.Dense(
        math.prod(params_shape), kernel_initializer=init.linear(), dtype=dtype, name="params"
    )(h)
    if len(params_shape) == 1:
        return h
    # A Reshape under the global half-precision policy would cast the parameters down again.
    return keras.layers.Reshape(params_shape, dtype=dtype, name="to_params")(h)


def end_dtype() -> str:
    """The dtype at both ends of a network: float64 if the policy says so, else float32."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


class _Initialisers(Initialisers):
    """Those of networks with one activation."""

    def __init__(self, seed: int, role: Role, activation: str) -> None:
        super().__init__(seed, role)
        self.activation = _known_activation(activation)
        self.gain = gain_of(self.activation)

    def hidden(self) -> Any:
        return self.kernel(self.gain)

    def linear(self) -> Any:
        return self.kernel()

    def transposed(self, *, linear: bool) -> Any:
        # Keras counts a transposed kernel's input channels as its fan *out*, over all of its
        # pixels; only one in stride² of those meets a given output pixel.
        return self.kernel((1.0 if linear else self.gain) * _STRIDE**2, "fan_out")


def _known_activation(activation: str) -> str:
    known = sorted(
        name
        for name in dir(keras.activations)
        if not name.startswith("_") and name not in _NOT_ACTIVATIONS
    )
    if activation in known:
        return activation
    near = difflib.get_close_matches(str(activation).lower(), known, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}."
    raise ValueError(
        f"Expected activation to name a Keras activation. Received: activation={activation!r}; "
        f"{fix}"
    )


def _image(
    argument: str, shape: tuple[int, ...], filters: tuple[int, ...], instead: str
) -> tuple[list[tuple[int, int]], int]:
    """Size ladder [(H, W), (ceil(H/2), ceil(W/2)), ...] of len(filters) + 1 rungs, and C."""
    shape = _shape(argument, shape)
    if len(shape) not in (2, 3):
        raise ValueError(
            f"Expected {argument} to be an image, (H, W) or (H, W, C). Received: "
            f"{argument}={shape}; use {instead} (network='mlp'), which takes any shape."
        )
    filters = _sizes("filters", filters)
    height, width = shape[:2]
    most = (max(height, width) - 1).bit_length()
    if not 1 <= len(filters) <= most:
        fix = f"pass 1 to {most} filters." if most else f"use {instead} (network='mlp')."
        raise ValueError(
            f"Expected filters to have one entry per halving of the image, and {height}x{width} "
            f"can be halved at most {most} times. Received: filters={filters}; {fix}"
        )
    ladder = [(height, width)]
    for _ in filters:
        height, width = -(-height // 2), -(-width // 2)
        ladder.append((height, width))
    return ladder, shape[2] if len(shape) == 3 else 1


def _shape(argument: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = _sizes(argument, shape)
    if not shape:
        raise ValueError(
            f"Expected {argument} to have at least one axis. Received: {argument}=(); "
            "give a scalar the shape (1,)."
        )
    return shape


def _sizes(argument: str, sizes: Iterable[int], least: int = 1) -> tuple[int, ...]:
    """`sizes` as a tuple of ints, each at least `least`."""
    try:
        values = tuple(sizes)
    except TypeError:
        values = None
    if values is None or any(
        isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least for v in values
    ):
        single = values is not None and argument in ("condition", "dense")
        kind = "an integer" if single else "a tuple of integers"
        shown = values[0] if single and values else sizes
        raise ValueError(
            f"Expected {argument} to be {kind} of at least {least}. "
            f"Received: {argument}={shown!r}; pass {'one' if single else 'such a tuple'}."
        )
    return tuple(int(v) for v in values)
