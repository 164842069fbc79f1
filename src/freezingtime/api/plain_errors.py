# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input as one exception with a short traceback: the caller's line, and what is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from freezingtime.errors import InputError

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def plain_errors(function: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Have ``function`` raise an InputError without the places inside that it went through.

    The text says all; the places matter for other errors, which pass as they are.
    """

    @functools.wraps(function)
    def call(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Value:
        try:
            return function(*arguments, **keywords)
        except InputError as error:
            raise error.with_traceback(None) from None

    return call
