# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotations as an array, for kernels and whole traces: one record for each request."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from freezingtime.annotation import UNKNOWN, Annotation

#: An array of :data:`ANNOTATION` records; the type checker knows no fields.
Annotations: TypeAlias = Any

_TYPES = {"service_start_ns": np.int64, "held_ns": np.int64, "held_by": np.int8}
_TYPES |= {"served_from": np.int8, "die": np.int16, "channel": np.int16, "member": np.int16}

#: The fields of :class:`~freezingtime.annotation.Annotation`, in its order.
ANNOTATION = np.dtype([(name, _TYPES[name]) for name in Annotation._fields])


def new_annotations(count: int) -> Annotations:
    """Annotations that say nothing."""
    return np.full(count, UNKNOWN, ANNOTATION)


def annotations_or_empty(annotations: Annotations | None) -> Annotations:
    """Return the array that a kernel writes into: an empty one if nobody wants annotations."""
    return new_annotations(0) if annotations is None else annotations
