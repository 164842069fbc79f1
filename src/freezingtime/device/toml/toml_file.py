# SPDX-License-Identifier: GPL-2.0-or-later
"""TOML files, whoever wrote them: bounded in size and depth, and refused in one line."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError
from freezingtime.host.file_formats import HEAD_BYTES, TAIL_BYTES, recognize
from freezingtime.units import format_size_bytes

#: The largest that ``fit`` writes are a hundredth of it; parsing takes seconds for each MiB.
SIZE_MAX_BYTES = 4 << 20
#: Of tables and lists within each other.
DEPTH_MAX = 32


def read_toml(path: Path, noun: str = "device description") -> dict[str, Any]:
    """The content of a file; ``noun`` is what it should be, for messages.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        content = _read(path, noun)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), noun) from error
    try:
        text = content.decode("utf-8-sig")  # some editors begin it with a byte order mark
    except UnicodeDecodeError as error:
        known = recognize(content[:HEAD_BYTES], content[-TAIL_BYTES:])
        what = "is not UTF-8 text" if known is None else f"is {known.name}"
        raise _unreadable(path, what, noun) from error
    return parse_toml(text, str(path))


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The content of a text; ``file`` is named in errors.

    Raises:
        InputError: it is no TOML, or nests too deep.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not TOML: {error}") from error
    except ValueError as error:  # Python converts no number of thousands of digits
        raise InputError(f"{file}: has a number with too many digits") from error
    except RecursionError as error:
        raise _too_deep(file) from error
    _check_depth(content, file)
    return content


def _read(path: Path, noun: str) -> bytes:
    # A pipe without a writer would have us wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _unreadable(path, "is not a regular file", noun)
        with open(fd, "rb", closefd=False) as file:
            content = file.read(SIZE_MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > SIZE_MAX_BYTES:
        raise _unreadable(path, f"has more than {format_size_bytes(SIZE_MAX_BYTES)}", noun)
    return content


def _unreadable(path: Path, reason: str, noun: str) -> InputError:
    return InputError(f"{path}: {reason}; name a readable {noun}")


def _check_depth(content: dict[str, Any], file: str) -> None:
    level: list[Any] = [content]
    for _ in range(DEPTH_MAX):
        level = [
            value
            for holder in level
            for value in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise _too_deep(file)


def _too_deep(file: str) -> InputError:
    return InputError(f"{file}: has more than {DEPTH_MAX} nested tables or lists")
