# SPDX-License-Identifier: GPL-2.0-or-later
"""Stand-ins for shared libraries that a program is linked with and will never call.

Debian's fio is linked with the clients of several network storage systems, which bring 80
MB of libraries along. The guest has no network; but without the libraries fio does not
start. A stub has the library's name and the symbols that the program wants, with their
versions. Whichever of them is called, the process says so and ends with status 127.

The file is the least that glibc's dynamic linker takes: two segments (one to execute, one
to write), a symbol table with a hash table of one bucket, and version definitions. The
formats are from the System V ABI (gABI chapters 4 and 5, x86-64 supplement) and, for
versions, the Linux Standard Base, chapter "Symbol Versioning".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezingtime.images.mini.shared_libraries import WantedSymbol

_PAGE_BYTES = 4096
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_TAG = struct.Struct("<QQ")
_VERDEF = struct.Struct("<HHHHIII")
_VERDAUX = struct.Struct("<II")

_ET_DYN, _EM_X86_64, _ELF_IDENT = 3, 62, b"\x7fELF\x02\x01\x01"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_PF_X, _PF_W, _PF_R = 1, 2, 4
_GLOBAL_FUNCTION = 0x12
# Any section number but 0 means "defined"; the linker looks no further.
_DEFINED = 1
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 4, 5, 6, 10, 11, 14
_DT_VERSYM, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
_VER_FLG_BASE = 1
_BASE_VERSION_INDEX = 1

_TEXT_OFFSET = _HEADER.size + 3 * _SEGMENT.size


def stub_library(soname: str, symbols: Iterable[WantedSymbol]) -> bytes:
    """An x86-64 ELF library called ``soname`` that exports ``symbols`` as functions."""
    exported = sorted(set(symbols), key=lambda symbol: (symbol.name, symbol.version or ""))
    strings = _StringTable()
    versions = sorted({symbol.version for symbol in exported if symbol.version})
    version_index = {name: index for index, name in enumerate(versions, _BASE_VERSION_INDEX + 1)}

    text = _refusal(soname)
    parts = {
        _DT_HASH: _hash_table(len(exported) + 1),
        _DT_SYMTAB: _symbol_table(exported, strings),
        _DT_VERSYM: _symbol_versions(exported, version_index),
        _DT_VERDEF: _version_definitions(soname, versions, strings),
    }
    soname_offset = strings.offset(soname)
    parts[_DT_STRTAB] = strings.to_bytes()

    image = bytearray(_TEXT_OFFSET) + text
    tags = [(_DT_SONAME, soname_offset), (_DT_STRSZ, len(parts[_DT_STRTAB]))]
    tags += [(_DT_SYMENT, _SYMBOL.size), (_DT_VERDEFNUM, len(versions) + 1)]
    for tag, part in parts.items():
        image += bytes(-len(image) % 8)
        tags.append((tag, len(image)))
        image += part
    return _with_segments(image, b"".join(_TAG.pack(*tag) for tag in [*tags, (0, 0)]))


def _with_segments(image: bytearray, dynamic: bytes) -> bytes:
    """Append the dynamic section and fill in the headers at the start of ``image``."""
    executable_bytes = len(image)
    image += bytes(-len(image) % _PAGE_BYTES)
    start = len(image)
    image += dynamic
    size = len(dynamic)
    segments = [
        (_PT_LOAD, _PF_R | _PF_X, 0, 0, 0, executable_bytes, executable_bytes, _PAGE_BYTES),
        (_PT_LOAD, _PF_R | _PF_W, start, start, start, size, size, _PAGE_BYTES),
        (_PT_DYNAMIC, _PF_R | _PF_W, start, start, start, size, size, 8),
    ]
    header = _HEADER.pack(
        *(_ELF_IDENT, _ET_DYN, _EM_X86_64, 1, 0, _HEADER.size, 0, 0),
        *(_HEADER.size, _SEGMENT.size, len(segments), 0, 0, 0),
    )
    image[:_TEXT_OFFSET] = header + b"".join(_SEGMENT.pack(*segment) for segment in segments)
    return bytes(image)


def _refusal(soname: str) -> bytes:
    """Machine code: write(2, message), exit_group(127)."""
    message = f"{soname} is left out of this guest image, and so is what needs it\n".encode()
    ending = b"\xbf\x7f\0\0\0" + b"\xb8\xe7\0\0\0" + b"\x0f\x05"  # edi = 127; eax = 231; syscall
    call = b"\xba" + struct.pack("<I", len(message)) + b"\xb8\x01\0\0\0" + b"\x0f\x05"
    load_address = b"\x48\x8d\x35" + struct.pack("<I", len(call) + len(ending))
    return b"\xbf\x02\0\0\0" + load_address + call + ending + message


class _StringTable:
    """An ELF string table in the making; strings are looked up by their offset."""

    def __init__(self) -> None:
        self._data = bytearray(b"\0")

    def offset(self, text: str) -> int:
        offset = len(self._data)
        self._data += text.encode() + b"\0"
        return offset

    def to_bytes(self) -> bytes:
        return bytes(self._data)


def _symbol_table(symbols: list[WantedSymbol], strings: _StringTable) -> bytes:
    entries = [
        _SYMBOL.pack(strings.offset(symbol.name), _GLOBAL_FUNCTION, 0, _DEFINED, _TEXT_OFFSET, 0)
        for symbol in symbols
    ]
    return bytes(_SYMBOL.size) + b"".join(entries)


def _hash_table(symbol_count: int) -> bytes:
    """One bucket whose chain runs through all symbols; entry 0 stands for the end."""
    chain = [0, *range(2, symbol_count), 0][:symbol_count]
    first = 1 if symbol_count > 1 else 0
    return struct.pack(f"<{3 + symbol_count}I", 1, symbol_count, first, *chain)


def _symbol_versions(symbols: list[WantedSymbol], version_index: dict[str, int]) -> bytes:
    indices = [version_index.get(symbol.version or "", _BASE_VERSION_INDEX) for symbol in symbols]
    return struct.pack(f"<{len(indices) + 1}H", 0, *indices)


def _version_definitions(soname: str, versions: list[str], strings: _StringTable) -> bytes:
    entry_bytes = _VERDEF.size + _VERDAUX.size
    names = [soname, *versions]
    offsets = [*(entry_bytes for _ in pairwise(names)), 0]
    definitions = b""
    for index, (name, next_offset) in enumerate(zip(names, offsets, strict=True), 1):
        flags = _VER_FLG_BASE if index == _BASE_VERSION_INDEX else 0
        hashed = elf_hash(name)
        definitions += _VERDEF.pack(1, flags, index, 1, hashed, _VERDEF.size, next_offset)
        definitions += _VERDAUX.pack(strings.offset(name), 0)
    return definitions


def elf_hash(name: str) -> int:
    """The System V ABI's hash of a symbol's or version's name, 28 bits."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF000_0000
        value = (value ^ high >> 24) & ~high & 0xFFFF_FFFF
    return value
