# SPDX-License-Identifier: GPL-2.0-or-later
"""The request of a sweep as a JSON document, for a worker on another machine."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from freezingtime.disk.disk import Disk
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions


class _Replays(msgspec.Struct, tag="replay", forbid_unknown_fields=True):
    disks: list[str]
    workload: str | None
    trace: str | None
    seed: int
    options: dict[str, Any]


class _Runs(msgspec.Struct, tag="run", forbid_unknown_fields=True):
    words: list[str]
    line: str | None
    script: str | None
    """In base64: a script may be any bytes."""
    job_directory: str | None
    options: dict[str, Any]
    prepare: str | None = None


def request_document(request: SweepRequest) -> Any:
    """Return the request as plain data.

    Raises:
        TypeError: it is of a kind that no worker knows.
    """
    if isinstance(request, ReplayRequest):
        trace = None if request.trace is None else str(request.trace)
        disks, options = _plain(request.disks), _given(request.options)
        return msgspec.to_builtins(_Replays(disks, request.workload, trace, request.seed, options))
    if isinstance(request, RunRequest):
        job, directory, options = request.job, request.job_directory, _given(request.options)
        return msgspec.to_builtins(
            _Runs(
                words=list(job.words) if isinstance(job, Command) else [],
                line=job.line if isinstance(job, Command) else None,
                script=None if isinstance(job, Command) else base64.b64encode(job).decode(),
                job_directory=None if directory is None else str(directory),
                options=options,
                prepare=None if request.prepare is None else str(request.prepare),
            )
        )
    raise TypeError(f"{type(request).__name__} has no document")


def parse_request(document: Any) -> SweepRequest:
    """Return the request of a document.

    Raises:
        ValueError: it is none.
    """
    read = msgspec.convert(document, _Replays | _Runs)
    if isinstance(read, _Replays):
        trace = None if read.trace is None else Path(read.trace)
        options = _options(ReplayOptions, read.options)
        return ReplayRequest(tuple(read.disks), read.workload, trace, options, read.seed)
    job: bytes | Command = Command(tuple(read.words), read.line)
    if read.script is not None:
        try:
            job = base64.b64decode(read.script, validate=True)
        except binascii.Error as error:
            raise ValueError(f"its script: {error}") from error
    directory = None if read.job_directory is None else Path(read.job_directory)
    prepare = None if read.prepare is None else Path(read.prepare)
    return RunRequest(_options(RunOptions, read.options), job, directory, prepare)


def _given(options: Any) -> dict[str, Any]:
    """The options that are not at their defaults."""
    return {
        name: _plain(value)
        for name, option in list_options(type(options)).items()
        if (value := getattr(options, name)) != option.default
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Disk):
        return value.spec
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    return str(value)


def _options(kind: type[Any], given: Mapping[str, Any]) -> Any:
    known = list_options(kind)
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"has the option {name!r}, which this version has not")
        if not _is_of(known[name].kind, value):
            raise ValueError(f"its option {name!r} cannot be {value!r}")
    return kind(**{name: _value(known[name].kind, value) for name, value in given.items()})


def _value(kind: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    is_fraction = Fraction in get_args(kind) and isinstance(value, str) and "/" in value
    return Fraction(value) if is_fraction else value


def _is_of(kind: Any, value: Any) -> bool:
    if isinstance(value, list):
        is_list = any(
            isinstance(origin, type) and issubclass(origin, Sequence)
            for origin in (get_origin(kind), *map(get_origin, get_args(kind)))
        )
        return is_list and all(isinstance(each, str) for each in value)
    return type(value) in (get_args(kind) or (kind,))
