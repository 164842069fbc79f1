# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotation of a command: its cause of waiting and its start of service. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.disk.state import Activity, DiskState, Record


@njit(cache=True)
def wait_for(slot: Record, held_by: int, now_ns: int) -> None:
    """The command waits from now on."""
    slot.waiting_since_ns = now_ns
    slot.held_by = held_by


@njit(cache=True)
def wait_for_arm(disk: DiskState, slot: Record, now_ns: int) -> None:
    """The command waits for the arm: for what that does now, for what comes first otherwise."""
    activity = disk.core[0].arm.activity
    if activity == Activity.DESTAGE:
        wait_for(slot, HeldBy.DESTAGE, now_ns)
    elif activity == Activity.CLEAN:
        wait_for(slot, HeldBy.CLEANING, now_ns)
    elif activity in (Activity.AHEAD, Activity.LAST_SECTOR):
        wait_for(slot, HeldBy.READ_AHEAD, now_ns)
    else:
        wait_for(slot, HeldBy.REQUESTS, now_ns)


@njit(cache=True)
def serve(slot: Record, served_from: int, now_ns: int) -> None:
    """The drive begins to serve the command, or a part of it."""
    annotation.start(slot.annotation, now_ns)
    annotation.hold(slot.annotation, slot.held_by, now_ns - slot.waiting_since_ns)
    annotation.serve(slot.annotation, served_from)


@njit(cache=True)
def serve_by_arm(slot: Record, now_ns: int) -> None:
    """The arm turns to the command."""
    serve(slot, ServedFrom.MEDIA, now_ns)
