# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of fio's output: iologs, latency logs, JSON."""
