"""Freezing Time: a storage device emulator that is exact in guest time."""
