# SPDX-License-Identifier: GPL-2.0-or-later
"""Replays as `replay` shows them: run now, or found in a store of results."""
