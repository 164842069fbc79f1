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
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from freezingtime.device.flash import layout
from freezingtime.device.flash.state import FlashState, Records

_PARTS = len(FlashState._fields)


def _address_to_pointer(_typing_context: Any, _address: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


_pointer: Any = intrinsic(_address_to_pointer)


def _array(name: str, dtype: Any) -> Callable[[int], Records]:
    place = FlashState._fields.index(name)

    @njit()
    def view(handle: int) -> Records:
        table = carray(_pointer(handle), (_PARTS, 2), np.int64)
        return carray(_pointer(table[place, 0]), (table[place, 1],), dtype)

    return view


def _record(name: str, dtype: Any) -> Callable[[int], Records]:
    array = _array(name, dtype)

    @njit()
    def view(handle: int) -> Records:
        return array(handle)[0]

    return view


config = _record("config", layout.CONFIG)
queue = _record("queue", layout.QUEUE)
link = _record("link", layout.LINK)
ftl = _record("ftl", layout.FTL)
counters = _record("counters", layout.COUNTERS)
slot_of_unit = _array("slot_of_unit", np.int32)
unit_of_slot = _array("unit_of_slot", np.int32)
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
