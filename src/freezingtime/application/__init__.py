# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the application itself, such as its transactions per second: how a job says them."""
