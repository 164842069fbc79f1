# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a device keeps up with an open loop, whose requests come however slow it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from freezingtime.simulate.simulate import Simulation

_PARTS = 4
#: Fewer requests in flight than that are a queue that any device has now and then.
_DEPTH_LEAST = 16
#: From each quarter of the requests to the next, by so much.
_GROWTH_LEAST = 1.1
_SERVED_SHARE_MOST = 0.99
_NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Overload:
    """Rates of a queue that grows as long as requests arrive."""

    offered_hz: float
    served_hz: float

    def __str__(self) -> str:
        return (
            f"the queue grows: offered {self.offered_hz:,.0f}/s, served {self.served_hz:,.0f}/s; "
            "latencies are those of the queue, and grow with the number of requests"
        )

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"offered_hz": self.offered_hz, "served_hz": self.served_hz}


def find_overload(simulation: Simulation) -> Overload | None:
    """Return the rates if requests waited longer from quarter to quarter of them, in a queue.

    A burst is none, be it at the end: what came before it did not wait. Nor is a device slow that
    has as many in flight as wish.
    """
    arrival_ns = simulation.trace.arrival_ns
    count = len(arrival_ns)
    if count < _PARTS * _DEPTH_LEAST:
        return None
    span_ns = int(arrival_ns[-1] - arrival_ns[0])
    medians_ns = [float(np.median(p)) for p in np.array_split(simulation.service_ns, _PARTS)]
    grows = all(later >= _GROWTH_LEAST * earlier for earlier, later in pairwise(medians_ns))
    if not span_ns or not grows or simulation.queue_depth()[-1] < _DEPTH_LEAST:
        return None
    served = int(np.count_nonzero(simulation.completion_ns <= arrival_ns[-1]))
    offered_hz, served_hz = ((n * _NS_PER_S / span_ns) for n in (count - 1, served))
    return Overload(offered_hz, served_hz) if served_hz <= _SERVED_SHARE_MOST * offered_hz else None
