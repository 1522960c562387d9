"""Examples of fixed length: `tf.train.Example` in TFRecord's framing, record i at byte i · R.

Anything that reads TFRecords of `tf.train.Example` reads these: a feature "x", the bytes of the
values, and perhaps "y", integers or floats. But as all records of a data set have one length, any
of them is found without an index, and a thousand are decoded by a few slices. Integers are written
as varints of one width, padded where they could be shorter, which Protocol Buffers allow.

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord, of the framing;
    https://protobuf.dev/programming-guides/encoding, of the messages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfvae.sources import Array

_HEADER, _FOOTER = 12, 4  # a length and its checksum; the checksum of the message
_LENGTH_DELIMITED = 2


@dataclass(frozen=True)
class Wire:
    """How examples lie in records.

    Args:
        shape: Of x.
        dtype: Of x.
        label_shape: Of y.
        label_dtype: Of y, a float32 or an integer type; None where there are no labels.
        label_bytes: Width of an integer label, from :func:`varint_bytes`.

    Example:
        >>> wire = Wire((2,), np.dtype("uint8"), (), np.dtype("int64"))
        >>> message = wire.messages(np.uint8([[7, 8]]), np.array([3]))[0].tobytes()
        >>> tf.train.Example.FromString(message).features.feature["y"].int64_list.value
        [3]
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    label_shape: tuple[int, ...] = ()
    label_dtype: np.dtype[Any] | None = None
    label_bytes: int = 1

    @property
    def record_bytes(self) -> int:
        """Length of a record, R."""
        return _HEADER + len(self._template[0]) + _FOOTER

    def messages(self, x: Array, y: Array | None) -> Array:
        """Serialise examples.

        Args:
            x: Values [n, *shape].
            y: Labels [n, *label_shape], or None.

        Returns:
            Serialised `tf.train.Example`s, uint8 [n, bytes].
        """
        template, x_at, y_at = self._template
        messages = np.tile(np.frombuffer(template, np.uint8), (len(x), 1))
        messages[:, x_at] = _as_bytes(x, self.dtype)
        if y is not None:
            messages[:, y_at] = self._label_bytes(y)
        return messages

    def decode(self, records: Array) -> tuple[Array, ...]:
        """Return (x [n, *shape],) or (x, y [n, *label_shape]) of records, uint8 [n, R]."""
        _, x_at, y_at = self._template
        messages = records[:, _HEADER:-_FOOTER]
        x = _from_bytes(messages[:, x_at], self.shape, self.dtype)
        if self.label_dtype is None:
            return (x,)
        if self.label_dtype.kind == "f":
            return x, _from_bytes(messages[:, y_at], self.label_shape, self.label_dtype)
        parts = messages[:, y_at].reshape(-1, *self.label_shape, self.label_bytes)
        shifts = 7 * np.arange(self.label_bytes, dtype=np.uint64)
        y = ((parts & 0x7F).astype(np.uint64) << shifts).sum(axis=-1, dtype=np.uint64)
        return x, y.view(np.int64).astype(self.label_dtype)

    def are_whole(self, records: Array) -> Array:
        """Say of records, uint8 [n, R], whether their length and checksums are right."""
        length = np.frombuffer(len(self._template[0]).to_bytes(8, "little"), np.uint8)
        sound: Array = (
            (records[:, :8] == length).all(axis=1)
            & _is_checksum(records[:, :8], records[:, 8:_HEADER])
            & _is_checksum(records[:, _HEADER:-_FOOTER], records[:, -_FOOTER:])
        )
        return sound

    def _label_bytes(self, y: Array) -> Array:
        assert self.label_dtype is not None
        if self.label_dtype.kind == "f":
            return _as_bytes(y, self.label_dtype)
        values = y.astype(np.int64).reshape(len(y), -1, 1).view(np.uint64)
        parts = (values >> (7 * np.arange(self.label_bytes, dtype=np.uint64))).astype(np.uint8)
        parts[..., :-1] |= 0x80  # more is to come
        parts[..., -1] &= 0x7F
        return parts.reshape(len(y), -1)

    @cached_property
    def _template(self) -> tuple[bytes, slice, slice]:
        """A message with zeros for values, and where x and y stand in it."""
        x = bytes(math.prod(self.shape) * self.dtype.itemsize)
        head, tail = _entry("x", 1, x)
        y_at = slice(0, 0)
        if self.label_dtype is not None:
            floats = self.label_dtype.kind == "f"
            width = self.label_dtype.itemsize if floats else self.label_bytes
            y = bytes(math.prod(self.label_shape) * width)
            more, end = _entry("y", 2 if floats else 3, y)
            tail += more
            y_at = slice(len(tail), len(tail) + len(end))
            tail += end
        features = _field(1, head + tail)
        start = len(features) - len(tail)
        return features, slice(start, start + len(x)), slice(start + y_at.start, start + y_at.stop)


def varint_bytes(labels: Array) -> int:
    """Bytes that the longest of some integers takes; of negative ones, always ten."""
    if labels.size and labels.min() < 0:
        return 10
    return max(1, math.ceil(int(labels.max(initial=0)).bit_length() / 7))


def _entry(key: str, kind: int, values: bytes) -> tuple[bytes, bytes]:
    """An entry of the map of features, cut before its values."""
    feature = _field(kind, _field(1, values))
    entry = _field(1, _field(1, key.encode()) + _field(2, feature))
    cut = len(entry) - len(values)
    return entry[:cut], entry[cut:]


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _as_bytes(values: Array, dtype: np.dtype[Any]) -> Array:
    little = np.ascontiguousarray(values, dtype.newbyteorder("<"))
    return little.reshape(len(values), -1).view(np.uint8)


def _from_bytes(values: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    little = np.ascontiguousarray(values).view(dtype.newbyteorder("<"))
    return little.reshape(-1, *shape).astype(dtype, copy=False)


def _is_checksum(values: Array, stored: Array) -> Array:
    """Compare bytes [n, m] with TFRecord's checksum of them, their CRC-32C rotated and shifted."""
    crc = np.full(len(values), 0xFFFFFFFF, np.uint32)
    table = _crc_table()
    for column in values.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    masked = (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)
    same: Array = masked == np.ascontiguousarray(stored).view("<u4")[:, 0]
    return same


def _crc_table() -> Array:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table
