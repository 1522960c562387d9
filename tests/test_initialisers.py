"""Initial weights: which seed each kernel has, by NumPy's own streams."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tfvae.initialisers import Initialisers, Role


def seeds(count: int, *args: Any, **options: Any) -> list[int]:
    made = Initialisers(*args, **options)
    return [made.next_seed() for _ in range(count)]


def test_each_kernel_has_a_seed_of_its_own_that_follows_from_its_position() -> None:
    # 31 bits, which every initialiser takes.
    each = [np.random.SeedSequence((7, 1, i)).generate_state(1)[0] >> 1 for i in range(5)]
    assert seeds(5, 7, Role.DECODER) == each
    # As many as are wanted, and those before are no others for it.
    words = np.random.SeedSequence((7, 11)).generate_state(100) >> 1
    assert seeds(100, 7, Role.COMBINER, consecutive=True) == words.tolist()


def test_no_two_share_a_seed() -> None:
    made = [
        seed
        for role in Role
        for first in (0, 1, 2**40)
        for seed in seeds(9, first, role, consecutive=role >= Role.SEQUENCE_ENCODER)
    ]
    # Of 270 words of 31 bits two are alike once in 60,000.
    assert len(set(made)) == len(made)


def test_no_global_state_is_read_or_advanced() -> None:
    def drawn() -> list[Any]:
        made = Initialisers(3, Role.ENCODER)
        kinds = (made.kernel(2.0), made.glorot(), made.orthogonal(), made.normal(0.1))
        return [np.asarray(kind((4, 6))) for kind in kinds]

    first, before = drawn(), np.random.get_state()[1].copy()
    keras.utils.set_random_seed(5)
    keras.random.normal((3,))
    between = np.random.get_state()[1].copy()
    for ours, theirs in zip(drawn(), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.random.get_state()[1], between)
    assert not np.array_equal(before, between)
    np.testing.assert_allclose(first[2] @ first[2].T, np.eye(4), atol=1e-6)


@pytest.mark.parametrize("seed", [-1, 1.0, None, True, "3"])
def test_seeds_that_are_none(seed: Any) -> None:
    with pytest.raises(ValueError, match="integer of at least 0"):
        Initialisers(seed, Role.ENCODER)
