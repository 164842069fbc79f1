# SPDX-License-Identifier: GPL-2.0-or-later
"""States of devices as files: a head that says what follows, then the arrays, compressed.

The head is MessagePack, in which an array is its place among the arrays behind; these are bytes in
little-endian order as their types have them, and a digest of everything is at the end. Nothing in a
file is executed, whoever wrote it. What is all zeros costs next to nothing in the file, nor any
memory when it is loaded. As a small file may unpack to a large state, whoever reads one says how
large its arrays may be; the head's length is bounded, too.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import IO, Any

import msgspec
import xxhash

from freezingtime.device.kept.state import NotKeptError, State, StateError

#: What such a file begins with; the number is that of its form.
_MAGIC = b"freezingtime device state 1\n"
_LENGTH = struct.Struct("<Q")
#: As objects of Python, of which there are two copies for a time, it takes 2 GiB at most.
_HEAD_MOST_BYTES = 1 << 24
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
#: More than any device has: 64-bit maps of 64 TB.
_ARRAYS_BYTES_MOST = 1 << 40
_DIMENSIONS_MOST = 4
#: In the tree, where an array is: a key that no state has.
_ARRAY = "\0array"
_COMPRESSION = "zstd"
#: What comes of reading bytes that are none of ours.
_DAMAGED = (
    *(msgspec.DecodeError, struct.error, ValueError, TypeError, KeyError, IndexError),
    *(OverflowError, RecursionError, EOFError, MemoryError, SyntaxError),
)


def write_state(path: Path, state: State) -> None:
    """Write a state to a file, without a copy of its arrays.

    Raises:
        NotKeptError: what is not in arrays is more than could be read again.
        OSError: it cannot be written.
    """
    arrays: list[Any] = []
    head = msgspec.msgpack.encode(
        [_taken_out(state, arrays), [_described(each) for each in arrays]]
    )
    if len(head) > _HEAD_MOST_BYTES:
        raise NotKeptError(f"it has more than {_HEAD_MOST_BYTES >> 20} MiB beside its arrays")
    with path.open("wb") as file:
        file.write(_MAGIC + _LENGTH.pack(len(head)) + head)
        digest = xxhash.xxh3_128(head)
        if arrays:
            _write_arrays(file, arrays, digest)
        file.write(digest.digest())


def read_state(path: Path, arrays_most_bytes: int = _ARRAYS_BYTES_MOST) -> State:
    """Read a state from a file, with arrays of so many bytes at most.

    Raises:
        OSError: it cannot be read.
        StateError: it is damaged, or of another version.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise StateError("is of another version of freezingtime")
        try:
            return _read(file, arrays_most_bytes)
        except _DAMAGED as error:
            raise StateError(f"is damaged ({type(error).__name__})") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise StateError("is damaged (it cannot be unpacked)") from error


def arrays_bytes(state: object) -> int:
    """Return how many bytes the arrays of a state have."""
    if isinstance(state, dict):
        return sum(map(arrays_bytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(arrays_bytes, state))
    return int(getattr(state, "nbytes", 0))


def read_head(path: Path) -> State:
    """Read a state without its arrays, and without checking them: they are None.

    Raises:
        OSError: it cannot be read.
        StateError: it is damaged, or of another version.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise StateError("is of another version of freezingtime")
            tree, descriptions = msgspec.msgpack.decode(_read_head(file))
        state: State = _put_back(tree, [None] * len(descriptions))
    except _DAMAGED as error:
        raise StateError(f"is damaged ({type(error).__name__})") from error
    return state


def _read_head(file: IO[bytes]) -> bytes:
    (length_bytes,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if length_bytes > _HEAD_MOST_BYTES:
        raise StateError("is damaged (its head is too long)")
    return file.read(length_bytes)


def _read(file: IO[bytes], arrays_most_bytes: int) -> State:
    head = _read_head(file)
    tree, descriptions = msgspec.msgpack.decode(head)
    digest = xxhash.xxh3_128(head)
    body = file.read(-1) if not descriptions else b""
    arrays: list[Any] = []
    if descriptions:
        arrays, body = _read_arrays(file, descriptions, digest, arrays_most_bytes)
    if body != digest.digest():
        raise StateError("is damaged (its checksum is another)")
    state: State = _put_back(tree, arrays)
    return state


def _taken_out(value: Any, arrays: list[Any]) -> Any:
    """The tree with numbers in place of its arrays, which are appended to ``arrays``."""
    if isinstance(value, dict):
        return {name: _taken_out(each, arrays) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_taken_out(each, arrays) for each in value]
    if hasattr(value, "dtype"):  # numpy is not needed for a state without arrays
        if value.ndim == 0:
            return value.item()
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    return value


def _put_back(value: Any, arrays: list[Any]) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]]
        return {name: _put_back(each, arrays) for name, each in value.items()}
    if isinstance(value, list):
        return [_put_back(each, arrays) for each in value]
    return value


def _described(array: Any) -> list[Any]:
    import numpy as np

    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype} has no bytes to keep")
    return [np.lib.format.dtype_to_descr(array.dtype), list(array.shape)]


def _write_arrays(file: IO[bytes], arrays: list[Any], digest: xxhash.xxh3_128) -> None:
    import numpy as np
    import pyarrow as pa

    # The stream closes what it writes to, which is not at its end yet.
    with pa.CompressedOutputStream(pa.PythonFile(_Unclosed(file), mode="w"), _COMPRESSION) as out:
        for array in arrays:
            content: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            for first in range(0, len(content), _PIECE_BYTES):
                piece = content[first : first + _PIECE_BYTES]
                digest.update(piece)
                out.write(piece)


def _read_arrays(
    file: IO[bytes], descriptions: list[Any], digest: xxhash.xxh3_128, most_bytes: int
) -> tuple[list[Any], bytes]:
    """Return the arrays, and what is in the file behind them."""
    import pyarrow as pa

    end_bytes = file.seek(0, io.SEEK_END) - digest.digest_size
    begin_bytes = len(_MAGIC) + _LENGTH.size
    file.seek(len(_MAGIC))
    begin_bytes += _LENGTH.unpack(file.read(_LENGTH.size))[0]
    file.seek(begin_bytes)
    arrays = []
    for description in descriptions:
        dtype, shape = description
        arrays.append(_new_array(dtype, shape, most_bytes))
        most_bytes -= arrays[-1].nbytes
    window = pa.PythonFile(_Window(file, end_bytes), mode="r")
    with pa.CompressedInputStream(window, _COMPRESSION) as stream:
        for array in arrays:
            _fill(array, stream, digest)
        if stream.read(1):
            raise StateError("is damaged (it goes on behind its arrays)")
    file.seek(end_bytes)
    return arrays, file.read()


def _new_array(description: Any, shape: list[int], most_bytes: int) -> Any:
    import numpy as np

    dtype = np.lib.format.descr_to_dtype(_as_tuples(description))
    if dtype.hasobject or len(shape) > _DIMENSIONS_MOST or min(shape, default=0) < 0:
        raise StateError("is damaged (an array of objects)")
    count = 1
    for size in shape:
        count *= size
    if count * dtype.itemsize > most_bytes:
        raise StateError("is damaged (its arrays are too large)")
    return np.zeros(shape, dtype)


def _as_tuples(description: Any) -> Any:
    """A type's description as numpy wants it; MessagePack knows lists only."""
    if isinstance(description, str):
        return description
    return [_field(*field) for field in description]


def _field(name: str, description: Any, shape: list[int] | None = None) -> tuple[Any, ...]:
    field = (name, _as_tuples(description))
    return field if shape is None else (*field, tuple(shape))


def _fill(array: Any, stream: Any, digest: xxhash.xxh3_128) -> None:
    """Read an array; pages of zeros stay untouched, and so take no memory."""
    import numpy as np

    content = array.reshape(-1).view(np.uint8).data
    for first in range(0, len(content), _PIECE_BYTES):
        length_bytes = min(_PIECE_BYTES, len(content) - first)
        piece = stream.read(length_bytes)
        if len(piece) != length_bytes:
            raise StateError("is damaged (it ends early)")
        digest.update(piece)
        if piece != _ZEROS[:length_bytes]:
            content[first : first + length_bytes] = piece


class _Window(io.RawIOBase):
    """A file up to a place, from where it is; closing it leaves the file open."""

    def __init__(self, file: IO[bytes], end_bytes: int) -> None:
        super().__init__()
        self._file, self._end_bytes = file, end_bytes

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        left_bytes = self._end_bytes - self._file.tell()
        return self._file.read(left_bytes if count < 0 else min(count, left_bytes))

    def tell(self) -> int:
        return self._file.tell()


class _Unclosed(io.RawIOBase):
    """A file to write to; closing it leaves the file open."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)
