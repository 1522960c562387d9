"""Networks of sequences, as plain Keras models: inference, combiner, transition, emission."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras

from tfvae.families.recurrence import Gate, Observed, Recurrent
from tfvae.initialisers import Initialisers, Role, gain_of
from tfvae.networks import end_dtype
from tfvae.objectives import check_choice

Direction = Literal["both", "backward", "forward"]
CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}


def _seeds(seed: int, role: Role) -> Initialisers:
    return Initialisers(seed, role, consecutive=True)


def _dense(h: Any, units: tuple[int, ...], activation: str, seeds: Initialisers, name: str) -> Any:
    for i, width in enumerate(units, 1):
        kernel = seeds.kernel(gain_of(activation))
        h = keras.layers.Dense(
            width, activation=activation, kernel_initializer=kernel, name=f"{name}_{i}"
        )(h)
    return h


def _linear(h: Any, units: int, seeds: Initialisers, name: str, gain: float = 1.0) -> Any:
    return keras.layers.Dense(
        units, kernel_initializer=seeds.kernel(gain), dtype=end_dtype(), name=name
    )(h)


def inference_network(
    data_shape: tuple[int, ...],
    units: int = 64,
    *,
    hidden: tuple[int, ...] = (64,),
    direction: Direction = "both",
    cell: Literal["gru", "lstm"] = "gru",
    activation: str = "relu",
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    r"""Recurrent inference: x [B, T, \*step] and what was observed of it to features [B, T, k].

    It sees the values, and at each step which of them are there. Where nothing is, its states
    stay as they are, so that it makes the same of a sequence whatever it is padded with.

    Args:
        data_shape: (T, \*step).
        units: of a recurrent cell.
        hidden: widths of dense layers between each step's values and the cells.
        direction: ``"backward"`` from the last step to the first, which is all that the exact
            posterior of a step is a function of beside the latent before; ``"forward"`` filters:
            no step knows of later ones; ``"both"``.
        cell: the cells' kind.
        activation: of the dense layers.
        seed: of the initial weights.
        name: the model's name.

    Returns:
        A Keras model of two inputs.

    Raises:
        ValueError: for an unknown direction or cell, or data without an axis of values.

    Example:
        >>> from tfvae.families.networks import inference_network
        >>> inference_network((20, 3), 16).output_shape
        (None, 20, 32)
    """
    check_choice("direction", direction, ("both", "backward", "forward"))
    check_choice("cell", cell, tuple(CELLS))
    check_data_shape(data_shape)
    seeds = _seeds(seed, Role.SEQUENCE_ENCODER)
    steps, size = data_shape[0], math.prod(data_shape[1:])
    inputs = [keras.Input(data_shape, dtype=end_dtype(), name=each) for each in ("x", "observed")]
    flat = [
        keras.layers.Reshape((steps, size), dtype=end_dtype(), name=f"{each.name}_steps")(each)
        for each in inputs
    ]
    there = Observed(dtype=end_dtype(), name="read")(flat[1])
    h = keras.layers.Concatenate(name="values")(flat)
    h = _dense(h, hidden, activation, seeds, "dense")
    runs = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
    states = [
        Recurrent(
            CELLS[cell](
                units,
                kernel_initializer=seeds.kernel(),
                recurrent_initializer=seeds.orthogonal(),
            ),
            backwards=backwards,
            name="backward" if backwards else "forward",
        )(h, there)
        for backwards in runs
    ]
    out = keras.layers.Concatenate(name="features")(states) if len(states) > 1 else states[0]
    return keras.Model(inputs, out, name=name)


def combiner(
    latent_dim: int,
    features: int,
    params: int,
    *,
    units: int = 64,
    follow: bool = True,
    seed: int = 0,
    name: str = "combiner",
) -> keras.Model:
    r"""z_{t-1} [B, d] and features h_t [B, k] to the parameters of q(z_t | z_{t-1}, h_t).

    .. math:: W \tfrac12 \bigl(\tanh(A z_{t-1} + a) + \tanh(C h_t + c)\bigr) + b

    Args:
        latent_dim: d.
        features: k.
        params: how many parameters there are.
        units: width of the sum.
        follow: False leaves z_{t-1} out: mean field.
        seed: of the initial weights.
        name: the model's name.

    References:
        Krishnan, Shalit and Sontag (2017), arXiv:1609.09869.
    """
    seeds = _seeds(seed, Role.COMBINER)
    before = keras.Input((latent_dim,), dtype=end_dtype(), name="before")
    given = keras.Input((features,), dtype=end_dtype(), name="features")
    h = _dense(given, (units,), "tanh", seeds, "given")
    if follow:
        h = keras.layers.Average(name="combined")(
            [h, _dense(before, (units,), "tanh", seeds, "before")]
        )
    return keras.Model([before, given], _linear(h, params, seeds, "params"), name=name)


def gated_transition(
    latent_dim: int,
    *,
    hidden: tuple[int, ...] = (64,),
    activation: str = "relu",
    seed: int = 0,
    name: str = "transition",
) -> keras.Model:
    r"""z_{t-1} [B, d] to location and raw scale of z_t, [B, 2d].

    .. math:: \mu = (1 - g) \odot (W z + b) + g \odot h(z), \qquad
        \sigma = \mathrm{softplus}(V \mathrm{relu}(h(z)) + v)

    with a gate g(z) and a proposal h(z) that are dense networks; at first W is the identity, h
    small and V 0, so that the location is a part of z_{t-1} and paths stay where they are drawn.

    Args:
        latent_dim: d.
        hidden: widths of the dense layers of gate and proposal.
        activation: theirs.
        seed: of the initial weights.
        name: the model's name.

    References:
        Krishnan, Shalit and Sontag (2017), arXiv:1609.09869, equation 11.
    """
    seeds = _seeds(seed, Role.TRANSITION)
    z = keras.Input((latent_dim,), dtype=end_dtype(), name="before")
    gate = _linear(_dense(z, hidden, activation, seeds, "gate"), latent_dim, seeds, "gate")
    gate = keras.layers.Activation("sigmoid", dtype=end_dtype(), name="gate_sigmoid")(gate)
    proposed = _dense(z, hidden, activation, seeds, "proposal")
    # Small at first: a path that grew at each step would be astronomical after a hundred.
    proposed = _linear(proposed, latent_dim, seeds, "proposal", gain=1e-2)
    kept = keras.layers.Dense(
        latent_dim, kernel_initializer="identity", dtype=end_dtype(), name="linear"
    )(z)
    location = Gate(dtype=end_dtype(), name="location")([gate, proposed, kept])
    rectified = keras.layers.Activation("relu", dtype=end_dtype(), name="rectified")(proposed)
    # The same scale everywhere at first: where one begins narrow, a KL begins in the thousands.
    raw = keras.layers.Dense(
        latent_dim, kernel_initializer="zeros", dtype=end_dtype(), name="raw_scale"
    )(rectified)
    params = keras.layers.Concatenate(dtype=end_dtype(), name="params")([location, raw])
    return keras.Model(z, params, name=name)


def emission_network(
    latent_dim: int,
    params_shape: tuple[int, ...],
    *,
    state: int | None = None,
    hidden: tuple[int, ...] = (64,),
    activation: str = "relu",
    seed: int = 0,
    name: str = "decoder",
) -> keras.Model:
    r"""Paths z [B, T, d] to the parameters of p(x_t | z_t) at each step, [B, T, \*params_shape].

    Each step's are a function of its own latent alone, so that T is whatever it is given; or of
    that and of a state, p(x_t | z_t, h_{t-1}), which is the second input then.

    Args:
        latent_dim: d.
        params_shape: of one step.
        state: how many values a state has; None for none.
        hidden: widths of the dense layers.
        activation: theirs.
        seed: of the initial weights.
        name: the model's name.
    """
    seeds = _seeds(seed, Role.EMISSION)
    z = keras.Input((None, latent_dim), dtype=end_dtype(), name="z")
    inputs = [z]
    if state is not None:
        inputs.append(keras.Input((None, state), dtype=end_dtype(), name="before"))
    h = keras.layers.Concatenate(name="given")(inputs) if len(inputs) > 1 else z
    h = _linear(
        _dense(h, hidden, activation, seeds, "dense"), math.prod(params_shape), seeds, "params"
    )
    if len(params_shape) > 1:
        h = keras.layers.Reshape((-1, *params_shape), dtype=end_dtype(), name="to_params")(h)
    return keras.Model(inputs if len(inputs) > 1 else z, h, name=name)


def step_encoder(
    data_shape: tuple[int, ...],
    *,
    hidden: tuple[int, ...] = (64,),
    activation: str = "relu",
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    r"""X [B, T, \*step] and what was observed of it to features [B, T, k], each step's of its own.

    Args:
        data_shape: (T, \*step); the network takes any T.
        hidden: widths of the dense layers; the last is k. Without any, features are the values
            and which of them are there.
        activation: theirs.
        seed: of the initial weights.
        name: the model's name.
    """
    check_data_shape(data_shape)
    seeds, step = _seeds(seed, Role.SEQUENCE_ENCODER), data_shape[1:]
    inputs = [
        keras.Input((None, *step), dtype=end_dtype(), name=each) for each in ("x", "observed")
    ]
    flat = [
        keras.layers.Reshape((-1, math.prod(step)), dtype=end_dtype(), name=f"{each.name}_steps")(
            each
        )
        for each in inputs
    ]
    h = keras.layers.Concatenate(name="values")(flat)
    return keras.Model(inputs, _dense(h, hidden, activation, seeds, "dense"), name=name)


def reader(
    features: int,
    latent_dim: int,
    *,
    hidden: tuple[int, ...] = (64,),
    activation: str = "relu",
    seed: int = 0,
    name: str = "reader",
) -> keras.Model:
    """Features of x_t [B, k] and z_t [B, d] to what a cell reads: both, z_t through dense layers.

    Args:
        features: k.
        latent_dim: d.
        hidden: widths of the dense layers.
        activation: theirs.
        seed: of the initial weights.
        name: the model's name.
    """
    seeds = _seeds(seed, Role.READER)
    inputs = [
        keras.Input((size,), dtype=end_dtype(), name=each)
        for size, each in ((features, "features"), (latent_dim, "z"))
    ]
    h = _dense(inputs[1], hidden, activation, seeds, "dense")
    read = keras.layers.Concatenate(name="read")([inputs[0], h])
    return keras.Model(inputs, read, name=name)


def cell_of(kind: Literal["gru", "lstm"], units: int, seed: int = 0) -> Any:
    """Return a recurrent cell.

    Args:
        kind: which.
        units: values of its state.
        seed: of the initial weights.
    """
    check_choice("cell", kind, tuple(CELLS))
    seeds = _seeds(seed, Role.CELL)
    return CELLS[kind](
        units, kernel_initializer=seeds.kernel(), recurrent_initializer=seeds.orthogonal()
    )


def check_data_shape(data_shape: tuple[int, ...]) -> None:
    """Raise a ``ValueError`` unless it is steps, and the shape of the values of each."""
    if len(data_shape) < 2:
        raise ValueError(
            "Expected `data_shape` to be (steps, values), with an axis of steps first. "
            f"Received: data_shape={tuple(data_shape)}. Give one value a step an axis of its own: "
            "x[..., None]."
        )
