# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in the tests' own process, for what takes many of them."""

from __future__ import annotations

from tests.cli.conftest import run_here

__all__ = ["run_here"]
