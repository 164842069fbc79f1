# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that somebody else has prepared: links in an output directory, a packed trace."""

from __future__ import annotations

import gzip
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.host.poller import Poller
from freezingtime.nbd.export import Export
from freezingtime.nbd.server import NbdServer
from freezingtime.runs.output_directory import prepared_directory
from freezingtime.trace.readers import NO_HINTS, read_trace
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.run_directory import DOCUMENT_NAME, STATISTICS_NAME, STDOUT_NAME
from tests.support.recordlib import completed, write_record

_NAMES = (STDOUT_NAME, RECORD_NAME, str(stream_path(Path(RECORD_NAME))), STATISTICS_NAME)


@pytest.mark.parametrize("name", _NAMES)
def test_a_link_in_the_output_directory_leads_nowhere(name: str, tmp_path: Path) -> None:
    """As somebody else may put it into a directory that all may write to."""
    target, out = tmp_path / "target", tmp_path / "out"
    target.write_text("precious")
    out.mkdir()
    (out / name).symlink_to(target)
    with prepared_directory(out, collects=False):
        assert (out / STDOUT_NAME).read_bytes() == b""
        write_record(out, [completed()])
    assert target.read_text() == "precious"
    assert not (out / name).is_symlink()


def test_a_link_in_place_of_the_results_is_refused_even_if_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / DOCUMENT_NAME).symlink_to(tmp_path / "target")
    with (
        pytest.raises(InputError, match="already contains a run"),
        prepared_directory(tmp_path, collects=False),
    ):
        pytest.fail("began")


def test_a_packed_trace_without_line_ends_fills_no_memory(tmp_path: Path) -> None:
    """It has 64 MiB, and packed some 64 KiB."""
    path = tmp_path / "trace.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a line has more than 65536 characters"):
            _read(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


def test_a_socket_of_serve_lets_in_whom_the_umask_lets_in(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    umask = os.umask(0o077)
    try:
        server = NbdServer(Poller())
        server.listen(str(path), {"disk": (0, Export("disk", 1 << 20))})
        mode = stat.S_IMODE(path.stat().st_mode)
        server.close()
    finally:
        os.umask(umask)
    assert mode & 0o077 == 0


def _read(path: Path) -> None:
    read_trace(
        path,
        format_name=None,
        disk=None,
        hints=NO_HINTS,
        progress=lambda done, total: None,
        notify=lambda notice: None,
    )
