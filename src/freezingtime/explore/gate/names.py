# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits that a gate's command line names, so that its help text waits for nothing else."""

from __future__ import annotations

#: More would only show what is smaller than anybody minds.
PHASES_MAX = 50
