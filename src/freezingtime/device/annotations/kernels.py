# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotations that kernels write while they serve a request. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.annotation import UNKNOWN as _UNKNOWN
from freezingtime.annotation import HeldBy
from freezingtime.device.annotations.columns import Annotations


@njit()
def reset(annotation: Annotations) -> None:
    """Nothing is said of the request yet."""
    annotation.service_start_ns = _UNKNOWN
    annotation.held_ns = _UNKNOWN
    annotation.held_by = _UNKNOWN
    annotation.served_from = _UNKNOWN
    annotation.die = _UNKNOWN
    annotation.channel = _UNKNOWN
    annotation.member = _UNKNOWN


@njit()
def start(annotation: Annotations, now_ns: int) -> None:
    """Something of the request begins to be served; the first time counts."""
    if annotation.service_start_ns == _UNKNOWN:
        annotation.service_start_ns = now_ns


@njit()
def hold(annotation: Annotations, held_by: int, held_ns: int) -> bool:
    """A part of the request has waited; whether that is the longest wait so far."""
    if held_ns <= annotation.held_ns:
        return False
    annotation.held_ns = held_ns
    annotation.held_by = held_by if held_ns else HeldBy.NOTHING
    return True


@njit()
def serve(annotation: Annotations, served_from: int) -> None:
    """A part of the request is served from there."""
    if served_from > annotation.served_from:  # max() takes no member of an enumeration
        annotation.served_from = served_from


@njit()
def copy(source: Annotations, target: Annotations) -> None:
    """Say of one what is said of another."""
    target.service_start_ns = source.service_start_ns
    target.held_ns = source.held_ns
    target.held_by = source.held_by
    target.served_from = source.served_from
    target.die = source.die
    target.channel = source.channel
    target.member = source.member
