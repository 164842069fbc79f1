# SPDX-License-Identifier: GPL-2.0-or-later
"""Saying that a job's discards have undone what an SSD was preconditioned to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: The share of what was there at time 0 above which figures are those of another SSD.
_SHARE_LEAST = 0.1
_DISCARDED, _PRECONDITIONED = "discarded_units", "preconditioned_units"


def discard_notices(disk: str, statistics: Mapping[str, float]) -> Iterator[str]:
    """One line for each SSD of a disk that discards have emptied, by what it says of itself.

    In the statistics of a composition, those of member 1 begin with ``1.``.
    """
    for name, discarded in statistics.items():
        prefix = name.removesuffix(_DISCARDED)
        before = statistics.get(prefix + _PRECONDITIONED, 0)
        if not name.endswith(_DISCARDED) or not before or discarded < _SHARE_LEAST * before:
            continue
        member = f", member {prefix.rstrip('.')}" if prefix else ""
        yield (
            f"{disk}{member}: discards emptied {min(1.0, discarded / before):.0%} of what the SSD "
            "held at the start, as mkfs does: it is no longer as precondition= had it; keep it "
            'with discard = "ignored" in [parameters.mapping], or with mkfs.ext4 -E nodiscard'
        )
