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
        """Return whether nothing is to be begun that would take more."""
        return self.held_bytes >= self._max_bytes

    @property
    def is_crowded(self) -> bool:
        """Return whether so much is held that others may have to wait for it."""
        return self.held_bytes > self._max_bytes // 2

    def has_room(self, size_bytes: int) -> bool:
        """Return whether so much more may be held; what takes no more always has room."""
        return size_bytes <= 0 or self.held_bytes + size_bytes <= self._max_bytes

    def change(self, by_bytes: int) -> None:
        """Hold so much more, or less."""
        was_full = self.is_full
        self.held_bytes += by_bytes
        if was_full and not self.is_full:
            self._on_room()
