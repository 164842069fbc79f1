# SPDX-License-Identifier: GPL-2.0-or-later
"""The key of a result: the SHA-256 of all that decides its figures, in one canonical text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from freezingtime.store.results.code import code_identity

_KEY_FORMAT = 1


@dataclass(frozen=True)
class ResultKey:
    """Identity of a run by content: equal plans have equal figures."""

    plan: Mapping[str, Any]
    """As JSON has it."""

    @cached_property
    def text(self) -> str:
        """The plan in its one canonical form."""
        return canonical({"format": _KEY_FORMAT, "code": code_identity(), "plan": self.plan})

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def canonical(document: Mapping[str, Any]) -> str:
    """A document as JSON that has one form only: keys in order, ASCII, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
