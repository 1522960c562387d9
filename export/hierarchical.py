"""What a hierarchy's endpoints have that those of a flat model do not: levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfvae.layers.support import Support

from .endpoint import Arrays, Definition, Values
from .manifest import Tensor
from .rows import by_parts, data_values, has_stddev, x_input
from .subject import Subject


def encode_levels(subject: Subject) -> Definition:
    """Define ``encode``: of each level the mean and standard deviation, given the means above."""
    model: Any = subject.model
    spreads = [has_stddev(layer) for layer in model.posteriors]

    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = {}
        for level, group in enumerate(model.means(subject.processing.to_model(x))):
            outputs[f"mean_{level}"] = group.z
            if spreads[level]:
                outputs[f"stddev_{level}"] = group.posterior.stddev()
        return outputs

    return Definition(
        description=(
            "Data x to the mean and standard deviation of each level's posterior, given the means "
            "of the levels that it depends on."
        ),
        inputs=(x_input(subject),),
        function=encode,
        reference=lambda x: encode(tf.constant(x)),
        examples=lambda count: {"x": subject.data_examples(count)},
        values={f"stddev_{level}": Values((0.0, None)) for level in range(model.levels)},
    )


def move_levels(subject: Subject) -> Definition:
    """Define ``move``: latents of all levels and how far each is moved, to what comes of it."""
    model: Any = subject.model
    names, shapes, levels = model.latent_names, model.latent_shapes, model.levels
    moves = tuple(f"shift_{level}" for level in range(levels))

    def move(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        moved = model.moved(given[:levels], given[levels:])
        mean = model.likelihood.mean(model.decoder_params(moved[0]))
        # An output cannot have the name of an input.
        outputs = {f"moved_{level}": z for level, z in enumerate(moved)}
        return outputs | {"mean": subject.processing.to_client(mean)}

    def examples(count: int) -> Arrays:
        rng = np.random.default_rng(0)
        return {
            name: rng.standard_normal((count, *shape), np.float32)
            for kind in (names, moves)
            for name, shape in zip(kind, shapes, strict=True)
        }

    return Definition(
        description=(
            f"Latents {', '.join(names)}, each moved by its shift, to where they come to lie and "
            f"the mean of p(x|z_0): levels below a moved one stay where they were within their "
            "priors."
        ),
        inputs=(
            *(
                Tensor(name, (None, *each), "float32")
                for name, each in zip(names, shapes, strict=True)
            ),
            *(
                Tensor(name, (None, *each), "float32", default=0.0)
                for name, each in zip(moves, shapes, strict=True)
            ),
        ),
        function=move,
        reference=lambda **arrays: move(*map(tf.constant, arrays.values())),
        examples=examples,
        values={"mean": data_values(subject)},
    )


def moving(subject: Subject) -> str:
    """Say why levels cannot be moved one by one, or nothing."""
    model: Any = subject.model
    if model.levels < 2:
        return (
            "Expected a hierarchy of two levels or more for the endpoint 'move'. Received: one "
            "level, which 'decode' takes."
        )
    for level, prior in enumerate(model.priors[:-1]):
        layer = prior.layer
        if by_parts(layer) or layer.support != Support.REAL or not has_stddev(layer):
            return (
                "Expected priors on the real numbers with a standard deviation in closed form, "
                "such as Normal, below the top level for the endpoint 'move'. Received: "
                f"{type(layer).__name__} at level {level}."
            )
    return ""
