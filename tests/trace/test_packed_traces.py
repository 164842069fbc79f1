# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces that are compressed, come through a pipe, or are no traces at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from freezingtime.errors import InputError
from freezingtime.host.file_formats import BLKTRACE, FORMATS, FileKind
from freezingtime.trace.readers import read_trace
from freezingtime.trace.readers.read_latencies import read_latencies
from tests.trace.readerlib import GOOD, rows


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path) -> None:
    text, expected = GOOD["msr"]
    path = tmp_path / "trace.csv"
    path.write_bytes(gzip.compress(text.encode()))
    assert rows(read_trace(path)) == expected


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("in")
        archive.writestr("in/trace.csv", data)
    return packed.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": _zipped,
    "two gzip": lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-16-le": lambda data: data.decode().encode("utf-16-le"),
    "utf-16-be": lambda data: data.decode().encode("utf-16-be"),
    "utf-16 in xz": lambda data: lzma.compress(data.decode().encode("utf-16")),
    "utf-8-sig": lambda data: b"\xef\xbb\xbf" + data,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_text_is_unpacked_and_decoded_whatever_the_name(packer: str, tmp_path: Path) -> None:
    text, expected = GOOD["csv"]
    path = tmp_path / "trace.csv"
    path.write_bytes(PACKERS[packer](text.encode()))
    assert rows(read_trace(path)) == expected


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2", "zstd", "zip"])
def test_damage_of_what_is_packed_is_an_error(packer: str, tmp_path: Path) -> None:
    text = "".join(f"{n * 7919 % 99991},hm,0,Read,{n * 512},512,1\n" for n in range(5000))
    packed = PACKERS[packer](text.encode())
    path = tmp_path / "trace"
    half = len(packed) // 2
    path.write_bytes(packed[:half])
    with pytest.raises(InputError, match=r"trace: .*; name a readable trace"):
        read_trace(path)
    # What a checksum at the end would tell may show in a line before.
    path.write_bytes(packed[:half] + bytes(64) + packed[half + 64 :])
    with pytest.raises(InputError, match=r"trace:"):
        read_trace(path)


def test_zip_of_several_files_is_a_question(tmp_path: Path) -> None:
    path = tmp_path / "traces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(InputError, match=f"is a zip archive of 2 files; .*'unzip {path}' and name"):
        read_trace(path)


@pytest.mark.parametrize("read_it", [read_trace, read_latencies])
def test_foreign_files_are_named_with_their_cure(
    read_it: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "trace.dat"
    for known in FORMATS:
        if known.offset_bytes < 0 or known.kind is FileKind.COMPRESSED or known is BLKTRACE:
            continue
        path.write_bytes((bytes(known.offset_bytes) + known.magic).ljust(4096, b"\0"))
        cure = known.command(path)
        expected = f"is {known.name}, not text; convert it with '{cure}'"
        with pytest.raises(InputError, match=re.escape(f"{path}: {expected}")):
            read_it(path)


def test_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(GOOD["msr"][0].encode() * 1000)[:-20])
    with pytest.raises(InputError, match=r"trace\.gz: is damaged: .*; name a readable trace"):
        read_trace(path)


def test_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD["mqsim"][0],))
    writer.start()
    assert rows(read_trace(pipe)) == GOOD["mqsim"][1]
    writer.join()
