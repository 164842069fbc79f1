# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays and random generators of a device's state. What is loaded is looked at first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.kept.state import State, StateError, entry, integer, require
from freezingtime.units import NEVER_NS

_BITS_128 = 2**128 - 1


def loaded_array(value: object, like: NDArray[Any], what: str) -> NDArray[Any]:
    """Return an array of a state that has the shape and type of another one.

    Raises:
        StateError: it has not.
    """
    if not isinstance(value, np.ndarray) or (value.dtype, value.shape) != (like.dtype, like.shape):
        raise StateError(f"{what} is none of such a device")
    return value


def require_range(values: NDArray[Any], what: str, least: int = 0, most: int = NEVER_NS) -> None:
    """Require that all values are in a range. Raises StateError."""
    require(values.size == 0 or (values.min() >= least and values.max() <= most), what)


def require_chains(following: NDArray[Any], heads: NDArray[Any], what: str) -> int:
    """Require that lists end; return how many elements they have, together at most all.

    ``following`` has the number of the element behind each, or a negative one; these are in range.

    Raises:
        StateError: one is a ring, or in several of them.
    """
    left = following.size
    current = heads[heads >= 0]
    while current.size:
        left -= current.size
        require(left >= 0, what)  # else one comes again
        current = following[current]
        current = current[current >= 0]
    return int(following.size - left)


def load_numbers(
    into: NDArray[Any], value: object, what: str, least: int = -NEVER_NS, most: int = NEVER_NS
) -> None:
    """Load an array of numbers of a range into one of the same shape and type.

    Raises:
        StateError: it is none.
    """
    loaded = loaded_array(value, into, what)
    require_range(loaded, what, least, most)
    into[:] = loaded


def generator_state(generator: np.random.Generator) -> State:
    """Return the state of a generator of :func:`.draw_stream.new_generator`'s kind."""
    state: Any = generator.bit_generator.state
    return {
        "state": f"{state['state']['state']:x}",
        "increment": f"{state['state']['inc']:x}",
        "has_half": state["has_uint32"],
        "half": state["uinteger"],
    }


def load_generator(generator: np.random.Generator, state: object) -> None:
    """Have a generator go on from a state. Raises StateError."""
    numbers = [_hexadecimal(entry(state, name)) for name in ("state", "increment")]
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": numbers[0], "inc": numbers[1]},
        "has_uint32": integer(entry(state, "has_half"), "a generator", most=1),
        "uinteger": integer(entry(state, "half"), "a generator", most=2**32 - 1),
    }


def _hexadecimal(text: object) -> int:
    try:
        number = int(str(text), 16)
    except ValueError as error:
        raise StateError("a generator is not possible") from error
    return integer(number, "a generator", most=_BITS_128)
