# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels' view of the state: from its handle to its arrays. Compiled.

The handle is the address of a table with the address and the length of each array, in the
order of :class:`~freezingtime.device.flash.state.FlashState`, which must outlive it. Handing
the arrays themselves from one small function to the next would take far longer (6 us per
request) than what the functions do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype

from freezingtime.device.annotations.columns import ANNOTATION
from freezingtime.device.flash import layout
from freezingtime.device.flash.state import FlashState, Records


def _intrinsic(view: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = intrinsic(view)
    return made


_INT64 = ir.IntType(64)
_INT64_BYTES = 8


def _entry(builder: Any, handle: Any, place: int) -> Any:
    """A number of the table, which no kernel changes: it need not be read again."""
    address = builder.add(handle, ir.Constant(_INT64, place * _INT64_BYTES))
    number = builder.load(builder.inttoptr(address, _INT64.as_pointer()))
    number.set_metadata("invariant.load", builder.module.add_metadata([]))
    return number


def _array_at(context: Any, builder: Any, array_type: Any, address: Any, size: Any) -> Any:
    """An array in memory that is not its own."""
    array = make_array(array_type)(context, builder)
    item_type = context.get_data_type(array_type.dtype)
    item_bytes = ir.Constant(_INT64, context.get_abi_sizeof(item_type))
    data = builder.inttoptr(address, item_type.as_pointer())
    populate_array(array, data, [size], [item_bytes], item_bytes, meminfo=None)
    return array._getvalue()


def _array(name: str, dtype: Any) -> Callable[[int], Records]:
    place = 2 * FlashState._fields.index(name)
    array_type = types.Array(from_dtype(np.dtype(dtype)), 1, "C")

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address = _entry(builder, arguments[0], place)
        size = _entry(builder, arguments[0], place + 1)
        return _array_at(context, builder, array_type, address, size)

    def view(_typing_context: Any, _handle: Any) -> Any:
        return array_type(types.int64), generate

    return _intrinsic(view)


def _record(name: str, dtype: Any) -> Callable[[int], Records]:
    place = 2 * FlashState._fields.index(name)
    record_type = from_dtype(dtype)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address = _entry(builder, arguments[0], place)
        return builder.inttoptr(address, context.get_value_type(record_type))

    def view(_typing_context: Any, _handle: Any) -> Any:
        return record_type(types.int64), generate

    return _intrinsic(view)


def _column(dtype: Any) -> Callable[[int, int], Any]:
    array_type = types.Array(from_dtype(np.dtype(dtype)), 1, "C")

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _array_at(context, builder, array_type, *arguments)

    def view(_typing_context: Any, _address: Any, _size: Any) -> Any:
        return array_type(types.int64, types.int64), generate

    return _intrinsic(view)


def _trace_at(_typing_context: Any, _address: Any) -> Any:
    record_type = from_dtype(layout.TRACE)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(record_type))

    return record_type(types.int64), generate


config = _record("config", layout.CONFIG)
queue = _record("queue", layout.QUEUE)
link = _record("link", layout.LINK)
ftl = _record("ftl", layout.FTL)
counters = _record("counters", layout.COUNTERS)
slot_of_unit = _array("slot_of_unit", np.int32)
unit_of_slot = _array("unit_of_slot", np.int32)
wide_slot_of_unit = _array("slot_of_unit", np.int64)
wide_unit_of_slot = _array("unit_of_slot", np.int64)
chunks = _array("chunks", np.int32)
blocks = _array("blocks", layout.BLOCK)
lanes = _array("lanes", layout.LANE)
open_slots = _array("open_slots", layout.OPEN_SLOT)
servers = _array("servers", layout.SERVER)
readers = _array("readers", layout.READER)
channels = _array("channels", layout.CHANNEL)
commands = _array("commands", layout.COMMAND)
requests = _array("requests", layout.REQUEST)
translations = _array("translations", layout.TRANSLATION)
zones = _array("zones", layout.ZONE)
pieces = _array("pieces", layout.PIECE)
events = _array("events", layout.EVENT)
epochs = _array("epochs", layout.EPOCH)
done = _array("done", layout.DONE)

#: A piece of a trace, and its columns, by their addresses.
trace: Callable[[int], Records] = _intrinsic(_trace_at)
column: Callable[[int, int], Records] = _column(np.int64)
annotation_column: Callable[[int, int], Records] = _column(ANNOTATION)
