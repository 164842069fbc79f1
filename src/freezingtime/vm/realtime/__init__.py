# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's CLOCK_REALTIME, read where the emulator sees it."""
