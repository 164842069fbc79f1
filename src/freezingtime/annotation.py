# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotations: what a device model knows of a request beside its completion time.

A model sets what it knows and leaves the rest :data:`UNKNOWN`; it does so in one place,
request by request and in whole traces alike (:mod:`freezingtime.device.annotations.columns` has
the same fields as an array). Records contain the words' numbers, so these keep their meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

#: Value of a field that the model does not annotate.
UNKNOWN = -1


class ServedFrom(IntEnum):
    """Source of a read's data, or location of a write's data at completion.

    Of a request with parts from several places, the greatest.
    """

    UNMAPPED = 0
    """Nowhere: nothing was ever written there, or it was discarded."""
    WRITE_BUFFER = 1
    """The memory for what is yet to be written."""
    READ_AHEAD = 2
    """What the device had read before anybody asked."""
    CACHE = 3
    """What is kept from former requests; of a tier, the fast device."""
    MEDIA = 4
    """Flash cells, platters; of a tier, the slow device."""


class HeldBy(IntEnum):
    """Cause of waiting of a request, or of a part of it, before its service."""

    NOTHING = 0
    REQUESTS = 1
    """Other requests that are served in its place."""
    PROGRAM = 2
    """A flash program of data that the host wrote."""
    COLLECTION = 3
    """Garbage collection, or the folding of an SLC cache; its erases included."""
    MAP = 4
    """A part of the map that had to be read first."""
    BUFFER_FULL = 5
    """Room in the write buffer."""
    WRITES = 6
    """Earlier writes, which had to become durable or go first."""
    DESTAGE = 7
    """The write buffer on its way to the platters."""
    CLEANING = 8
    """Cleaning of a shingled drive's bands."""
    READ_AHEAD = 9
    """The end of a sector that was being read ahead."""
    IOPS_LIMIT = 10
    """A limit of requests per second."""
    IOPS_CREDITS = 11
    """Credits for requests, which were used up."""
    THROUGHPUT_LIMIT = 12
    """A limit of bytes per second."""
    THROUGHPUT_CREDITS = 13
    """Credits for bytes, which were used up."""
    PERTURBATION = 14
    """A hiccup, slow span or pause that was asked for."""


class Annotation(NamedTuple):
    """Annotation of one request; times in guest ns."""

    service_start_ns: int = UNKNOWN
    """When the device began to serve it, or its first part."""
    held_ns: int = UNKNOWN
    """How long it, or the part that was held longest, waited for ``held_by``."""
    held_by: int = UNKNOWN
    """A :class:`HeldBy`."""
    served_from: int = UNKNOWN
    """A :class:`ServedFrom`."""
    die: int = UNKNOWN
    """Which flash chip, die or plane (what works for itself): of the part held longest."""
    channel: int = UNKNOWN
    """The channel of that die."""
    member: int = UNKNOWN
    """The member of a composition that finished last; the other fields are that member's."""


#: Annotation of a device that annotates nothing.
EMPTY_ANNOTATION = Annotation()
