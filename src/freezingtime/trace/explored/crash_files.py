# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of an exploration of power cuts, for who writes them and who reads them.

=====================  =====================================================
``crash.json``         what is explored
``job/``               the run directory of the job, with its write log
``states.jsonl``       a line for each state whose outcome is known
``explored.json``      what was found, once all of it has been explored
``failures/N.json``    a failure: point, fates, reason
``failures/N-*.raw``   its disks
``scratch/``           a guest's memory, while it is explored
=====================  =====================================================
"""

from __future__ import annotations

from dataclasses import dataclass

REQUEST_NAME = "crash.json"
JOB_NAME = "job"
STATES_NAME = "states.jsonl"
EXPLORED_NAME = "explored.json"
FAILURES_NAME = "failures"
SCRATCH_NAME = "scratch"
#: Changes whenever a reader of the version before would misread one of the documents.
EXPLORATION_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LostWrite:
    """A write of which something was lost."""

    disk: str
    offset_bytes: int
    length_bytes: int
    """Of what was lost, from its first to its last byte."""
    pieces: int
    of_pieces: int
    fate: str
    holds: tuple[str, ...] = ()
    """What would be there had nothing been lost: files and structures of the file system; empty
    where nothing can tell."""
