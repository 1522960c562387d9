"""Recurrent networks of sentences: one that reads them, one that writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.initialisers import Initialisers, Role
from tfvae.networks import end_dtype
from tfvae.objectives.base import check_choice, check_samples
from tfvae.text import EOS

Cell = Literal["gru", "lstm"]
States = tuple[tf.Tensor, ...]
"""What a recurrent network remembers: a tensor [B, units] for each cell, two of an LSTM."""

UNROLLED = 16
"""Places up to which a network is laid out step by step. Longer ones loop, which takes no longer to
train, and far less time to convert."""

_LAYERS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def recurrent_encoder(
    length: int,
    vocabulary: int,
    params_shape: tuple[int, ...],
    *,
    cell: Cell = "gru",
    units: int = 256,
    embedding: int = 128,
    depth: int = 1,
    seed: int = 0,
    name: str = "encoder",
) -> keras.Model:
    """Return an encoder of sentences: tokens [B, length] to parameters [B, *params_shape].

    The state after the last token, of which a linear layer makes the parameters. ``<pad>`` is
    masked: how far a row is filled up changes nothing.

    Args:
        length: of a row of tokens.
        vocabulary: how many tokens there are.
        params_shape: what the posterior asks for.
        cell: ``"gru"`` or ``"lstm"``.
        units: of a recurrent layer.
        embedding: size of a token's vector.
        depth: how many recurrent layers.
        seed: of the initial weights.
        name: the model's name.

    Raises:
        ValueError: for a size below 1, or an unknown cell.

    Example:
        >>> tfvae.families.recurrent_encoder(9, 40, (64,), units=32).output_shape
        (None, 64)
    """
    _check_sizes(
        length=length, vocabulary=vocabulary, units=units, embedding=embedding, depth=depth
    )
    check_choice("cell", cell, tuple(_LAYERS))
    seeds = Initialisers(seed, Role.SENTENCE_ENCODER)
    inputs = keras.Input((length,), dtype="int32", name="x")
    h = keras.layers.Embedding(
        vocabulary, embedding, mask_zero=True, name="embedding",
        embeddings_initializer=seeds.normal(embedding**-0.5),
    )(inputs)  # fmt: skip
    for i in range(1, depth + 1):
        h = _recurrent(cell, units, length, seeds, f"{cell}_{i}", sequences=i < depth)(h)
    kernel = seeds.glorot()
    wide = end_dtype()
    h = keras.layers.Dense(
        math.prod(params_shape), kernel_initializer=kernel, dtype=wide, name="params"
    )(h)
    if len(params_shape) > 1:
        h = keras.layers.Reshape(params_shape, dtype=wide, name="to_params")(h)
    return keras.Model(inputs, h, name=name)


@keras.saving.register_keras_serializable("tfvae")
class RecurrentDecoder(keras.Model):
    """Decoder of sentences: from z and the tokens so far to the logits of the next.

    Its first state is a map of z, and z stands beside each token that it reads. In training it
    reads all tokens of a sentence at once; writing one, it takes a step a token.

    Args:
        latent_dim: the number of latents.
        length: of a row of tokens.
        vocabulary: how many tokens there are.
        cell: ``"gru"`` or ``"lstm"``.
        units: of a recurrent layer.
        embedding: size of a token's vector.
        depth: how many recurrent layers.
        seed: of the initial weights.
        name: the model's name.

    Raises:
        ValueError: for a size below 1, or an unknown cell.

    Example:
        >>> decoder = tfvae.families.RecurrentDecoder(2, length=9, vocabulary=40, units=32)
        >>> decoder([tf.zeros([3, 2]), tf.ones([3, 9], tf.int32)]).shape
        TensorShape([3, 9, 38])
    """

    conditional = True  # on the tokens before

    def __init__(
        self,
        latent_dim: int,
        *,
        length: int,
        vocabulary: int,
        cell: Cell = "gru",
        units: int = 256,
        embedding: int = 128,
        depth: int = 1,
        seed: int = 0,
        name: str = "decoder",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.settings: dict[str, Any] = {
            "latent_dim": latent_dim, "length": length, "vocabulary": vocabulary, "units": units,
            "embedding": embedding, "depth": depth,
        }  # fmt: skip
        _check_sizes(**self.settings)
        check_choice("cell", cell, tuple(_LAYERS))
        self.settings |= {"cell": cell, "seed": seed}
        seeds, dtype = Initialisers(seed, Role.SENTENCE_DECODER), self.dtype_policy
        self.embedding = keras.layers.Embedding(
            vocabulary, embedding, name="embedding", dtype=dtype,
            embeddings_initializer=seeds.normal(embedding**-0.5),
        )  # fmt: skip
        count = depth * (2 if cell == "lstm" else 1)
        self.start = keras.layers.Dense(
            count * units, activation="tanh", name="start", dtype=dtype,
            kernel_initializer=seeds.glorot(),
        )  # fmt: skip
        self.recurrent = [
            _recurrent(cell, units, length, seeds, f"{cell}_{i}", sequences=True, dtype=dtype)
            for i in range(1, depth + 1)
        ]
        self.params = keras.layers.Dense(
            vocabulary - EOS, name="params", dtype=end_dtype(),
            kernel_initializer=seeds.glorot(),
        )  # fmt: skip
        # All at once, for a compiled loop cannot create variables.
        self.embedding.build((None, length))
        self.start.build((None, latent_dim))
        for i, layer in enumerate(self.recurrent):
            layer.build((None, length, units if i else embedding + latent_dim))
        self.params.build((None, units))
        self.built = True

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Return logits [B, T, vocabulary - 2] of z [B, d] and the tokens before [B, T]."""
        z, tokens = inputs
        length = self.settings["length"]
        if tokens.shape[1] != length:
            raise ValueError(
                f"Expected tokens of shape [B, {length}] for this decoder. Received: shape "
                f"{tuple(tokens.shape)}."
            )
        h = self._beside(self.embedding(tokens), tf.expand_dims(z, 1))
        states, each = self.begin(z), self._each
        for i, layer in enumerate(self.recurrent):
            first = list(states[each * i : each * (i + 1)])
            h = layer(h, initial_state=first, training=training)
        return self.params(h)

    def begin(self, z: tf.Tensor) -> States:
        """Return the first states of z [B, d]."""
        whole = self.start(z)
        return tuple(tf.split(whole, self._each * len(self.recurrent), axis=-1))

    def advance(self, tokens: tf.Tensor, z: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
        """Take a step: from the last tokens [B] to the logits of the next [B, vocabulary - 2]."""
        h = self._beside(self.embedding(tokens), z)
        after: list[tf.Tensor] = []
        each = self._each
        for i, layer in enumerate(self.recurrent):
            h, new = layer.cell(h, list(states[each * i : each * (i + 1)]))
            after.extend(new)
        return self.params(h), tuple(after)

    @property
    def _each(self) -> int:
        """States of one layer."""
        return 2 if self.settings["cell"] == "lstm" else 1

    def _beside(self, vectors: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        z = tf.cast(z, vectors.dtype)
        if vectors.shape.rank == 3:
            z = tf.repeat(z, self.settings["length"], axis=1)
        return tf.concat([vectors, z], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return {**self.settings, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> RecurrentDecoder:
        """Rebuild a decoder from :meth:`get_config`."""
        policy = keras.saving.deserialize_keras_object(config["dtype"], custom_objects)
        return cls(**config | {"dtype": policy})


def _recurrent(
    cell: str,
    units: int,
    length: int,
    seeds: Initialisers,
    name: str,
    *,
    sequences: bool,
    dtype: Any = None,
) -> Any:
    return _LAYERS[cell](
        units,
        return_sequences=sequences,
        unroll=length <= UNROLLED,
        kernel_initializer=seeds.glorot(),
        recurrent_initializer=seeds.orthogonal(),
        name=name,
        dtype=dtype,
    )


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        check_samples(value, argument=name)
