# SPDX-License-Identifier: GPL-2.0-or-later
"""Budget of the memory that all clients of a server may make it hold together."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """Bytes that are held for clients, and how many may be. Owned by one thread."""

    def __init__(self, max_bytes: int, on_room: Callable[[], None]) -> None:
        """``on_room`` is called when there is room again after there was none."""
        self._max_bytes = max_bytes
        self._on_room = on_room
        self.held_bytes = 0

    @property
    def is_full(self) -> bool:
        """Return whether to begin nothing that needs more."""
        return self.held_bytes >= self._max_bytes

    @property
    def is_crowded(self) -> bool:
        """Return whether others may have to wait for memory."""
        return self.held_bytes > self._max_bytes // 2

    def has_room(self, size_bytes: int) -> bool:
        """Return whether that much more may be held; 0 always fits."""
        return size_bytes <= 0 or self.held_bytes + size_bytes <= self._max_bytes

    def change(self, by_bytes: int) -> None:
        """Change the amount held."""
        was_full = self.is_full
        self.held_bytes += by_bytes
        if was_full and not self.is_full:
            self._on_room()
