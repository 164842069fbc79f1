# SPDX-License-Identifier: GPL-2.0-or-later
"""An SSD: flash dies behind channels, a flash translation layer, a write buffer in DRAM.

The model is event driven: the kernels keep a heap of events (a die ends a phase, a piece of a
write has come over the link, ...) and every shared thing is taken first come first served.
:mod:`.geometry` says what the SSD is made of, :mod:`.state` what it remembers.

With zones (:mod:`.zones`) it has a fixed mapping instead of a translation layer.

Approximations: garbage collection is decided and mapped at once, and its time is then spent in
steps on the die that it concerns; it never leaves its plane. Commands that only ask for
status, and the controller's own work, are in the fixed overheads. The whole map is at hand
unless there is a mapping cache (:mod:`.kernels.ftl.translation`). Discards cost a fixed time.
Writing zeros deallocates, as discarding does. In idle time the SLC cache is folded; garbage is
collected only when writes need the space, unless idle dies are told to. Free blocks are used
in turn, which evens wear out under most loads; cold data are moved for it only if asked for
(:mod:`.kernels.ftl.wear`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freezingtime.annotation import Annotation
from freezingtime.device import compile_cache
from freezingtime.device.annotations.columns import Annotations
from freezingtime.device.base import Device, Pause, pieces
from freezingtime.device.flash.geometry import FlashGeometry, shape
from freezingtime.device.flash.kept import flash_state, load_flash
from freezingtime.device.flash.layout import NONE, TRACE
from freezingtime.device.flash.parameters import FlashParams
from freezingtime.device.flash.precondition import precondition
from freezingtime.device.flash.state import new_config, new_state
from freezingtime.device.flash.statistics import statistics
from freezingtime.device.flash.zones import refused
from freezingtime.device.kept.held_requests import (
    load_tagged,
    load_waiting,
    tagged_state,
    waiting_state,
)
from freezingtime.device.kept.state import State, entry, integer, require
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.device.trace_device import check_trace
from freezingtime.request import Request
from freezingtime.units import NEVER_NS


class FlashDevice(Device):
    """An SSD with :class:`FlashParams`; ``seed`` chooses what the steady state looks like.

    ``size_bytes`` is the disk's size; None takes what the flash allows. A read of what was
    never written takes no flash time. Memory is 8 bytes per mapping unit and 7 % spare space
    on top (16 beyond 2**31 units), less for what nobody has written to. With zones
    (:mod:`.zones`), ``submit`` and ``advance`` raise RefusalError for a write that its zone
    does not take.

    Raises:
        InputError: the flash and the disk's size do not fit.
    """

    def __init__(
        self,
        params: FlashParams,
        seed: int,
        size_bytes: int | None = None,
        *,
        with_history: bool = True,
    ) -> None:
        # The compiler takes a while to import: only who makes an SSD pays for it.
        compile_cache.prepare(Path(__file__).parent)
        from freezingtime.device.flash.kernels import entry as kernels

        self._kernels = kernels
        self._geometry = shape(params, size_bytes)
        self._size_bytes = size_bytes
        self._capacity_bytes = self._geometry.units * params.mapping.mapping_unit_bytes
        self._is_steady = params.precondition == "steady"
        self._queue_depth = params.host.queue_depth
        self._state = new_state(params, self._geometry)
        self._make_table()
        if with_history:  # which a state that is about to be loaded has already
            precondition(self._state, self._handle, params.precondition, seed)
        self._submitted_count = 0
        self._in_service: dict[int, Request] = {}
        self._waiting: deque[tuple[Request, int]] = deque()

    @property
    def geometry(self) -> FlashGeometry:
        """The shape of the flash, cut to the disk."""
        return self._geometry

    @property
    def collection_round_bytes(self) -> int:
        """Writes after which garbage collection has done with an open block of each lane.

        Lanes are written in turn, and so collect at the same time: what fewer writes cost
        depends on where in their blocks they begin. 0 until there is garbage.
        """
        if not self._is_steady:
            return 0
        slots = self._geometry.lanes * self._geometry.slots_per_block
        return slots * int(self._state.config["unit_bytes"][0])

    def submit(self, request: Request, now_ns: int) -> None:
        if not 0 <= request.offset_bytes <= request.end_bytes <= self._capacity_bytes:
            raise ValueError(
                f"a request for bytes {request.offset_bytes} to {request.end_bytes} "
                f"of an SSD with {self._capacity_bytes}"
            )
        if len(self._in_service) == self._queue_depth:
            self._waiting.append((request, now_ns))
        else:
            self._start(request, now_ns, now_ns)

    def next_event_ns(self) -> int | None:
        next_ns: int = self._kernels.next_event_ns(self._handle)
        return None if next_ns >= NEVER_NS else next_ns

    def advance(self, now_ns: int) -> list[Request]:
        count = self._kernels.step(self._handle, now_ns, NONE, 0, 0, 0, False, now_ns, 0)
        if not count:
            return []
        completed = []
        for tag, _, annotation in self._state.done[:count].tolist():
            request = self._in_service.pop(tag)
            request.annotation = Annotation._make(annotation)
            completed.append(request)
        self._state.queue["done"] = 0
        while self._waiting and len(self._in_service) < self._queue_depth:
            self._start(*self._waiting.popleft(), now_ns)
        return completed

    def complete_all(
        self,
        arrivals_ns: ArrayLike,
        operations: ArrayLike,
        offsets_bytes: ArrayLike,
        lengths_bytes: ArrayLike,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> NDArray[np.int64]:
        """Return the completion times of an open-loop trace, in ns; all arrays of 64-bit integers.

        ``annotations`` get what the SSD says of each, if they are given; ``pause`` is called now
        and then. The same as submitting and advancing, only faster. Raises ValueError if the device
        is not idle, or the trace is not one; RefusalError if a zone refuses a write.
        """
        completions_ns, _ = self._run_trace(
            0, arrivals_ns, operations, offsets_bytes, lengths_bytes, annotations, pause
        )
        return completions_ns

    def complete_closed(
        self,
        depth: int,
        operations: ArrayLike,
        offsets_bytes: ArrayLike,
        lengths_bytes: ArrayLike,
        start_ns: int = 0,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return arrival and completion times of a closed loop with ``depth`` requests in flight.

        The same as submitting a request whenever one completes, only faster. Raises ValueError for
        a depth of 0 and what :meth:`complete_all` refuses; RefusalError as that does.
        """
        if depth < 1:
            raise ValueError(f"queue depth is {depth}; must be 1 or more")
        start_ns = max(start_ns, int(self._state.queue["now_ns"][0]))
        arrivals_ns = np.full(np.shape(operations), start_ns, np.int64)
        completions_ns, arrivals_ns = self._run_trace(
            depth, arrivals_ns, operations, offsets_bytes, lengths_bytes, annotations, pause
        )
        return arrivals_ns, completions_ns

    def _run_trace(
        self,
        depth: int,
        arrivals_ns: ArrayLike,
        operations: ArrayLike,
        offsets_bytes: ArrayLike,
        lengths_bytes: ArrayLike,
        annotations: Annotations | None,
        pause: Pause | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return completion and arrival times of a trace; a depth of 0 stands for an open loop."""
        if self._in_service:
            raise ValueError("a trace starts on an idle SSD; requests are still in service")
        trace = check_trace(arrivals_ns, operations, offsets_bytes, lengths_bytes)
        completions_ns = np.zeros_like(trace.arrivals_ns)
        if completions_ns.size == 0:
            return completions_ns, trace.arrivals_ns
        ends_bytes = trace.offsets_bytes + trace.lengths_bytes
        if trace.offsets_bytes.min() < 0 or ends_bytes.max() > self._capacity_bytes:
            raise ValueError(f"offsets must be inside the SSD's {self._capacity_bytes} bytes")
        columns = {
            "arrivals_ns": trace.arrivals_ns,
            "operations": np.ascontiguousarray(operations, dtype=np.int64),
            "offsets_bytes": trace.offsets_bytes,
            "lengths_bytes": trace.lengths_bytes,
            "completions_ns": completions_ns,
        }
        if annotations is not None:
            columns["annotations"] = annotations
            if annotations.shape != completions_ns.shape or not annotations.flags.c_contiguous:
                raise ValueError("annotations must be one array with a place for each request")
        piece = np.zeros(1, TRACE)
        piece["size"], piece["depth"] = completions_ns.size, depth
        for name, column in columns.items():  # which stay there as long as this is called
            piece[name] = column.ctypes.data
        for first, end in pieces(completions_ns.size, pause):
            piece["first"], piece["end"] = first, end
            accepted = self._kernels.step(
                self._handle, 0, NONE, 0, 0, 0, False, 0, piece.ctypes.data
            )
            if accepted < end:
                offset_bytes = int(trace.offsets_bytes[accepted])
                raise refused(self._state, offset_bytes, int(trace.lengths_bytes[accepted]))
            if pause is not None and end < completions_ns.size:
                pause(end, int(self._state.queue["now_ns"][0]))
        return completions_ns, trace.arrivals_ns

    def statistics(self) -> dict[str, float]:
        """Return statistics since the SSD was made; see :mod:`.statistics`."""
        return statistics(self._state)

    def change_parameters(self, params: ModelParameters, _now_ns: int) -> None:
        """Go on with other times: of operations that begin from now on."""
        assert isinstance(params, FlashParams)
        self._state.config[:] = new_config(params, shape(params, self._size_bytes))

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        return {
            "ssd": flash_state(self._state),
            "submitted": self._submitted_count,
            "in_service": tagged_state(self._in_service, under_way),
            "waiting": waiting_state(self._waiting, under_way),
        }

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        self._submitted_count = integer(entry(state, "submitted"), "a count")
        self._in_service = load_tagged(
            entry(state, "in_service"), under_way, "what is in service", self._queue_depth
        )
        self._waiting = load_waiting(entry(state, "waiting"), under_way)
        require(all(0 <= each.end_bytes <= self._capacity_bytes for each in under_way), "a request")
        self._state = load_flash(self._state, entry(state, "ssd"))
        self._make_table()

    def _make_table(self) -> None:
        """Make what the kernels call the state by: see kernels/memory.py."""
        self._table = np.array(
            [(part.ctypes.data, part.size) for part in self._state], dtype=np.int64
        )
        self._handle = int(self._table.ctypes.data)

    def _start(self, request: Request, arrival_ns: int, now_ns: int) -> None:
        self._submitted_count += 1
        self._in_service[self._submitted_count] = request
        self._kernels.step(
            self._handle,
            now_ns,
            self._submitted_count,
            int(request.operation),
            request.offset_bytes,
            request.length_bytes,
            request.fua,
            arrival_ns,
            0,
        )
        if self._state.queue["refusal"][0]:
            raise refused(self._state, request.offset_bytes, request.length_bytes)
