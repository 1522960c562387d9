"""What an export can be asked, described once.

The tuple that :func:`endpoints` returns is the only list there is. SavedModel signatures, ONNX
files, the manifest, the test vectors, the warm-up and the verification are all made from it, so a
new endpoint is one builder and one line in a table; a family of models whose endpoints take
other inputs has a table of its own.

Every endpoint is a function of a batch, row by row, in plain TensorFlow operations: no TFP
distribution, no Keras object and no random operation is left in its graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfvae.families import HierarchicalVAE, SemiSupervisedVAE, SentenceVAE, SequentialVAE
from tfvae.generation import Generative

from . import sentences, sequential
from .endpoint import Endpoint, Entry, trace
from .errors import ExportError, did_you_mean
from .flat import ENDPOINTS, classified
from .hierarchical import encode_levels, move_levels, moving
from .subject import Subject


def endpoints(
    subject: Subject | Generative, names: Iterable[str] | None = None
) -> tuple[Endpoint, ...]:
    """Return the endpoints of a model.

    Args:
        subject: what is exported; or a built VAE or Generator, with all else as it is by default.
        names: which ones; by default all that the model's slots allow.

    Raises:
        ExportError: for an unknown name (the nearest is suggested), or for one that a slot of
            the model does not allow (the slot is named).

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> [endpoint.name for endpoint in endpoints(vae)]
        ['decode', 'generate', 'encode', 'reconstruct', 'score']
    """
    subject = subject if isinstance(subject, Subject) else Subject(subject)
    if names is None:
        wanted = tuple(name for name in _table(subject) if not _obstacle(subject, name))
    else:
        wanted = _named(subject, (names,) if isinstance(names, str) else names)
    return tuple(_built(subject, name) for name in wanted)


def _named(subject: Subject, names: Iterable[str]) -> tuple[str, ...]:
    """Check names that were asked for."""
    known = _table(subject)
    if not isinstance(names, Iterable):
        raise ExportError(
            f"Expected `endpoints` to be a list of names. Received: endpoints={names!r}."
        )
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise ExportError(
            f"Expected `endpoints` to name some of {', '.join(known)}. Received: none."
        )
    for name in wanted:
        if name not in known:
            raise ExportError(
                f"Expected `endpoints` to be among {', '.join(known)}. "
                f"Received: {name!r}.{did_you_mean(name, known)}"
            )
        if obstacle := _obstacle(subject, name):
            others = tuple(each for each in known if not _obstacle(subject, each))
            raise ExportError(f"{obstacle} Export the other endpoints: endpoints={others!r}.")
    return wanted


def _obstacle(subject: Subject, name: str) -> str:
    """Say what does not allow an endpoint, or nothing."""
    return _table(subject)[name].obstacle(subject)


# Families that can be asked other things, each with a table of its own.
_FAMILIES: tuple[tuple[type[Any], dict[str, Entry]], ...] = (
    (SemiSupervisedVAE, ENDPOINTS | {"classify": Entry(classified)}),
    (
        HierarchicalVAE,
        ENDPOINTS | {"encode": Entry(encode_levels), "move": Entry(move_levels, moving)},
    ),
    (SentenceVAE, sentences.ENDPOINTS),
    (SequentialVAE, sequential.ENDPOINTS),
)


def _table(subject: Subject) -> dict[str, Entry]:
    tables = (table for family, table in _FAMILIES if isinstance(subject.model, family))
    return next(tables, ENDPOINTS)


def _built(subject: Subject, name: str) -> Endpoint:
    entry = _table(subject)[name]
    return trace(name, entry.build(subject), (*entry.signatures, name), entry.minimum_opset)
