# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of block layer traces, as several tools print them: traces and latencies."""
