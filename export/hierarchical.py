"""What a hierarchy's endpoints have that those of a flat model do not: levels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .endpoint import Definition, Values
from .rows import has_stddev, x_input
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
