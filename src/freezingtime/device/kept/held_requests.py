# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests that a model holds, as its state has them: by their numbers under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from freezingtime.device.kept.state import integer, items, one_of
from freezingtime.request import Request


def tagged_state(tagged: Mapping[int, Request], under_way: Mapping[Request, int]) -> list[object]:
    """Requests by the model's own tags."""
    return [[tag, under_way[request]] for tag, request in tagged.items()]


def load_tagged(
    value: object, under_way: Sequence[Request], what: str, most: int
) -> dict[int, Request]:
    """Read what :func:`tagged_state` returned.

    Raises:
        StateError: it is something else, or more than ``most`` requests; the message has ``what``.
    """
    return {
        integer(tag, "a request"): one_of(under_way, number, "a request")
        for tag, number in items(value, what, most)
    }


def waiting_state(
    waiting: Iterable[tuple[Request, int]], under_way: Mapping[Request, int]
) -> list[object]:
    """Requests that wait, in their order, and their arrivals in ns."""
    return [[under_way[request], arrival_ns] for request, arrival_ns in waiting]


def load_waiting(value: object, under_way: Sequence[Request]) -> deque[tuple[Request, int]]:
    """Read what :func:`waiting_state` returned.

    Raises:
        StateError: it is something else.
    """
    return deque(
        (one_of(under_way, number, "a request"), integer(arrival_ns, "an arrival"))
        for number, arrival_ns in items(value, "what waits")
    )
