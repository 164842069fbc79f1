# SPDX-License-Identifier: GPL-2.0-or-later
"""Durations of jobs, as far as their text tells: of fio, pgbench and sysbench.

For an estimate of when it ends, and nothing else: what the text of a job does not tell, such as
how often a loop is gone through, is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from freezingtime.units import NS_PER_S

_UNITS_NS = {
    "us": 1000,
    "ms": 1_000_000,
    "": NS_PER_S,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
}
_TIME = re.compile(r"([0-9]{1,9})(us|ms|s|m|h|d)?")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_VALUE = r"[= ]?[\"']?([^\s\"']{1,40})"
_COMMANDS = {
    "fio": re.compile(rf"\s--runtime{_VALUE}"),
    "pgbench": re.compile(rf"\s(?:-T|--time){_VALUE}"),
    "sysbench": re.compile(rf"\s--time{_VALUE}"),
}
#: A line of fio's job file.
_JOB_FILE = re.compile(rf"^runtime\s*{_VALUE}", re.MULTILINE)


def expected_guest_ns(script: str, environment: Mapping[str, str]) -> int | None:
    """The guest time that a script's commands will take one after the other; None: they tell none.

    ``environment`` are the variables that a duration may be given as, such as ``-T "$T"``.
    """
    text = script.replace("\\\n", " ")
    parts_ns = list(_commands_ns(text, environment))
    in_job_files_ns = [_time_ns(found, environment) for found in _JOB_FILE.findall(text)]
    if in_job_files_ns and re.search(r"\bfio\b", text):
        parts_ns.append(max(in_job_files_ns))
    return sum(parts_ns) or None


def _commands_ns(text: str, environment: Mapping[str, str]) -> Iterator[int]:
    """Yield how long each line's command takes; jobs of one fio run at the same time."""
    for line in text.splitlines():
        for program, option in _COMMANDS.items():
            if not line.lstrip().startswith("#") and re.search(rf"\b{program}\b", line):
                yield max((_time_ns(text, environment) for text in option.findall(line)), default=0)


def _time_ns(text: str, environment: Mapping[str, str]) -> int:
    """0 of what is no time."""
    known = _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], ""), text)
    found = _TIME.fullmatch(known)
    return int(found[1]) * _UNITS_NS[found[2] or ""] if found else 0
