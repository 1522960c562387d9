"""The endpoints of an export as methods, wherever they run: in this process or on a server."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
import numpy.typing as npt

from .inputs import Arrays
from .manifest import EndpointRecord


class Calls:
    """What :class:`LoadedExport` and :class:`Client` share: a method for each endpoint."""

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """The endpoints by name, with the shapes and dtypes of their inputs and outputs."""
        raise NotImplementedError

    def run(self, endpoint: str, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run an endpoint by name."""
        raise NotImplementedError

    def decode(self, z: npt.ArrayLike, condition: npt.ArrayLike | None = None) -> Arrays:
        """Decode latents.

        Args:
            z: latents [B, *latent]; of a hierarchy those of level 0.
            condition: where the endpoint takes one: one for all or one for each row.

        Returns:
            ``mean`` [B, *data], and the named parameters of p(x|z).
        """
        record = self.endpoints.get("decode")
        name = record.inputs[0].name if record else "z"
        return self.run("decode", {name: z} | self._repeated("decode", z, condition=condition))

    def move(self, z: Sequence[npt.ArrayLike], shift: Mapping[int, npt.ArrayLike]) -> Arrays:
        """Move latents of some levels of a hierarchy, and take those of the levels below along.

        Args:
            z: of each level, level 0's first, [B, *latent].
            shift: by level, how far it is moved: one for all or one for each row.

        Returns:
            ``moved_0``, ``moved_1`` ..., each [B, *latent], where below a moved level each stays
            where it was within its prior; and ``mean`` [B, *data].
        """
        if not isinstance(shift, Mapping):
            raise TypeError(
                "Expected `shift` to say by level how far it is moved, as in {1: shift_of_z_1}. "
                f"Received: a {type(shift).__name__}."
            )
        levels = {f"z_{level}": each for level, each in enumerate(z)}
        moved = {f"shift_{level}": each for level, each in shift.items()}
        return self.run("move", levels | self._repeated("move", levels.get("z_0", ()), **moved))

    def generate(
        self,
        seeds: npt.ArrayLike,
        temperature: npt.ArrayLike = 1.0,
        condition: npt.ArrayLike | None = None,
        token_temperature: npt.ArrayLike | None = None,
        length: npt.ArrayLike | None = None,
    ) -> Arrays:
        """Draw rows, each a function of its own seed, temperature and condition.

        Args:
            seeds: integers [B], any int64.
            temperature: scale of the prior's noise, one for all or [B]; of a hierarchy one for
                all, one for each level, or [B, levels].
            condition: of a conditional model, one for all or one for each row; where the export
                has names for its classes, those too.
            token_temperature: of a sentence VAE, what the logits of words are divided by, one
                for all or [B].
            length: of sequences: how many steps, one for all or [B]; all by default.

        Returns:
            ``z`` [B, *latent], of a hierarchy ``z_0``, ``z_1`` ...; ``mean`` [B, *data] and
            ``sample`` [B, *data]. Of a sentence VAE ``z`` and ``tokens``.
        """
        seeds = np.atleast_1d(np.asarray(seeds))
        given = self._repeated(
            "generate",
            seeds,
            temperature=self._for_levels(temperature),
            condition=condition,
            token_temperature=token_temperature,
            length=length,
        )
        return self.run("generate", {"seed": seeds} | given)

    def beam(self, z: npt.ArrayLike) -> Arrays:
        """Search for the most probable sentences of latents z [B, d], of a sentence VAE.

        Returns:
            ``tokens`` [B, W, T], the most probable row first, and ``log_prob`` [B, W] in nats.
        """
        return self.run("beam", {"z": z})

    def interpolate(self, x: npt.ArrayLike, other: npt.ArrayLike, weight: npt.ArrayLike) -> Arrays:
        """Write sentences on the line between two others, of a sentence VAE.

        Args:
            x: tokens [T], or [B, T].
            other: the same.
            weight: where on the line, [B]: at x for 0, at the other for 1.

        Returns:
            ``tokens`` [B, T].
        """
        weight = np.atleast_1d(np.asarray(weight, np.float32))
        ends = self._repeated("interpolate", weight, x=x, other=other)
        return self.run("interpolate", {"weight": weight} | ends)

    def encode(
        self,
        x: npt.ArrayLike,
        condition: npt.ArrayLike | None = None,
        length: npt.ArrayLike | None = None,
    ) -> Arrays:
        """Encode data.

        Args:
            x: data [B, *data].
            condition: as of :meth:`decode`.
            length: as of :meth:`generate`.

        Returns:
            ``mean`` and ``stddev`` of q(z|x), each [B, *latent]; of a hierarchy ``mean_0``,
            ``stddev_0``, ``mean_1`` ...
        """
        given = self._repeated("encode", x, condition=condition, length=length)
        return self.run("encode", {"x": x} | given)

    def reconstruct(
        self,
        x: npt.ArrayLike,
        condition: npt.ArrayLike | None = None,
        length: npt.ArrayLike | None = None,
    ) -> Arrays:
        """Encode data and decode them again.

        Args:
            x: data [B, *data].
            condition: as of :meth:`decode`.
            length: as of :meth:`generate`.

        Returns:
            ``mean`` [B, *data] of p(x|z), at the mean of q(z|x).
        """
        given = self._repeated("reconstruct", x, condition=condition, length=length)
        return self.run("reconstruct", {"x": x} | given)

    def score(
        self,
        x: npt.ArrayLike,
        seeds: npt.ArrayLike | None = None,
        condition: npt.ArrayLike | None = None,
        length: npt.ArrayLike | None = None,
    ) -> Arrays:
        """Say how likely data are, in nats.

        Args:
            x: data [B, *data].
            seeds: integers [B] that the importance samples are drawn by; 0 to B - 1 by default.
            condition: of a conditional model, one for all or one for each row.
            length: as of :meth:`generate`.

        Returns:
            ``elbo`` [B] and ``log_marginal`` [B], two lower bounds on log p(x). The second, of
            many importance samples, is the tighter one.
        """
        seeds = np.arange(_count(x)) if seeds is None else seeds
        given = self._repeated("score", x, seed=seeds, condition=condition, length=length)
        return self.run("score", {"x": x} | given)

    def classify(self, x: npt.ArrayLike) -> Arrays:
        """Say how likely each class is, where the model has a classifier.

        Args:
            x: data [B, *data].

        Returns:
            ``probabilities`` [B, classes] of q(y|x).
        """
        return self.run("classify", {"x": x})

    def _for_levels(self, temperature: npt.ArrayLike) -> npt.ArrayLike:
        """Repeat one temperature for all levels of a hierarchy."""
        record = self.endpoints.get("generate")
        shapes = {spec.name: spec.shape for spec in record.inputs} if record else {}
        levels = shapes.get("temperature", ())[1:]
        return np.full(levels, temperature) if levels and not np.ndim(temperature) else temperature

    def forecast(
        self,
        x: npt.ArrayLike,
        seeds: npt.ArrayLike | None = None,
        length: npt.ArrayLike | None = None,
    ) -> Arrays:
        """Go on with sequences after their last steps, each by its own seed.

        Args:
            x: sequences [B, T, *step].
            seeds: integers [B]; 0 to B - 1 by default.
            length: as of :meth:`generate`.

        Returns:
            ``mean`` and ``sample``, each [B, T, *step]: the steps that follow.
        """
        seeds = np.arange(_count(x)) if seeds is None else seeds
        given = self._repeated("forecast", x, seed=seeds, length=length)
        return self.run("forecast", {"x": x} | given)

    def impute(
        self, x: npt.ArrayLike, observed: npt.ArrayLike, seeds: npt.ArrayLike | None = None
    ) -> Arrays:
        """Fill in what is missing of sequences, each by its own seed.

        Args:
            x: sequences [B, T, *step]; any valid value where nothing was observed.
            observed: lengths [B], or 1 where something was observed and 0 where not: steps
                [B, T] or, of most models, values [B, T, *step].
            seeds: integers [B]; 0 to B - 1 by default.

        Returns:
            ``mean`` and ``sample``, each [B, T, *step]: x where it was observed.
        """
        seeds = np.arange(_count(x)) if seeds is None else seeds
        record = self.endpoints.get("impute")
        shapes = {spec.name: spec.shape for spec in record.inputs} if record else {}
        mask = _as_mask(observed, shapes.get("observed", ()))
        return self.run("impute", {"x": x, "observed": mask, "seed": seeds})

    def _repeated(
        self, endpoint: str, rows: npt.ArrayLike, **given: Any
    ) -> dict[str, npt.ArrayLike]:
        """Repeat what is given once, as for a single row, and drop what is not given."""
        record = self.endpoints.get(endpoint)
        shapes = {spec.name: spec.shape for spec in record.inputs} if record else {}
        count = _count(rows)
        repeated: dict[str, npt.ArrayLike] = {}
        for name, value in given.items():
            if value is None:
                continue
            shape = shapes.get(name, ())
            # A number may stand for a vector of one.
            one = [value] if shape[1:] == (1,) and not np.ndim(value) else value
            once = np.ndim(one) + 1 == len(shape)
            whole = (count, *np.shape(one))
            repeated[name] = np.broadcast_to(np.asarray(one), whole) if once else one
        return repeated


def _as_mask(observed: npt.ArrayLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Return lengths [B] or steps [B, T] as a mask of a shape [B, T, ...]; others as they are."""
    mask = np.asarray(observed)
    if mask.ndim == 1 and len(shape) > 1:
        mask = np.arange(shape[1] or 0) < mask[:, None]
    if 1 < mask.ndim <= len(shape):
        mask = mask.reshape(*mask.shape, *[1] * (len(shape) - mask.ndim))
        with contextlib.suppress(ValueError):  # of another shape, which is refused by name
            mask = np.broadcast_to(mask, [len(mask), *(size or 0 for size in shape[1:])])
    return mask.astype(np.float32) if mask.dtype == bool else mask


def _count(rows: npt.ArrayLike) -> int:
    """Return the batch size of what may not be an array yet, nor able to become one."""
    if not isinstance(rows, Sized) or (isinstance(rows, np.ndarray) and not rows.ndim):
        return 1
    return len(rows)
