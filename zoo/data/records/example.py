"""``tf.train.Example`` messages, written and read without TensorFlow (which takes seconds to import).

The wire format is protobuf's: https://protobuf.dev/programming-guides/encoding. The message is
``Example{features: Features{map<string, Feature>}}`` of tensorflow/core/example/{example,feature}.proto.
Keys are written in sorted order, so that equal content gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 0x0A, 0x12, 0x1A  # fields 1, 2, 3 of Feature, length-delimited
_FIELD_1, _FIELD_2 = 0x0A, 0x12

Feature = bytes | np.ndarray


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Serialise features into one Example: ``bytes``, integer arrays (int64) or float arrays (float32)."""
    parts: list[bytes] = []
    for key in sorted(features):
        value = features[key]
        if isinstance(value, bytes):
            kind, packed = _BYTES_LIST, value
        elif value.dtype.kind == "f":
            kind, packed = _FLOAT_LIST, value.astype("<f4", copy=False).tobytes()
        elif value.dtype.kind in "iu":
            kind, packed = _INT64_LIST, b"".join(map(_varint, value.ravel().tolist()))
        else:
            raise TypeError(f"a feature is bytes, integers or floats, not {value.dtype}")
        parts += (_entry_head(key, kind, len(packed)), packed)
    body = b"".join(parts)
    return b"".join((b"\x0a", _varint(len(body)), body))


def decode_example(message: bytes) -> dict[str, Feature]:
    """Features of a serialised Example: one ``bytes`` value, an int64 array or a float32 array per key.

    Raises ValueError where ``message`` is not an Example of that kind.
    """
    try:
        return _decode_features(memoryview(message))
    except (IndexError, KeyError) as error:
        raise ValueError("not a tf.train.Example") from error


@lru_cache(maxsize=4096)
def _entry_head(key: str, kind: int, length: int) -> bytes:
    """All bytes of a map entry before its ``length`` bytes of values (they stand last in it)."""
    values = _head(_FIELD_1, length)
    feature = _head(kind, len(values) + length) + values
    name = key.encode()
    entry = _head(_FIELD_1, len(name)) + name + _head(_FIELD_2, len(feature) + length) + feature
    return _head(_FIELD_1, len(entry) + length) + entry


def _head(tag: int, length: int) -> bytes:
    return bytes((tag,)) + _varint(length)


def _varint(number: int) -> bytes:
    if 0 <= number < 0x80:
        return bytes((number,))
    number &= 0xFFFFFFFFFFFFFFFF  # negative numbers are stored as two's complement of 64 bits
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _decode_features(message: memoryview) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for _, example_field in _fields(message):
        for _, entry in _fields(example_field):
            parts = dict(_fields(entry))
            features[bytes(parts[_FIELD_1]).decode()] = _decode_feature(parts[_FIELD_2])
    return features


def _decode_feature(message: memoryview) -> Feature:
    ((kind, values),) = list(_fields(message))
    payloads = list(_fields(values))
    payload = payloads[0][1] if payloads else memoryview(b"")
    if kind == _BYTES_LIST and len(payloads) == 1:
        return bytes(payload)
    if kind == _FLOAT_LIST:
        return np.frombuffer(payload, dtype="<f4")
    if kind == _INT64_LIST:
        return _unpack_int64(payload)
    raise ValueError(f"unexpected list of kind {kind:#x} with {len(payloads)} values")


def _unpack_int64(payload: memoryview) -> np.ndarray:
    numbers = []
    position = 0
    while position < len(payload):
        number, position = _read_varint(payload, position)
        numbers.append(number - (1 << 64) if number >> 63 else number)
    return np.array(numbers, dtype=np.int64)


def _fields(message: memoryview):
    """(tag, payload) of every length-delimited field of a message."""
    position = 0
    while position < len(message):
        tag = message[position]
        if tag & 7 != 2:
            raise ValueError(f"field {tag >> 3} has wire type {tag & 7}, expected 2 (length-delimited)")
        length, position = _read_varint(message, position + 1)
        if position + length > len(message):
            raise ValueError(f"a field of {length} bytes goes beyond the end of its message")
        yield tag, message[position : position + length]
        position += length


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint longer than 10 bytes")
