# SPDX-License-Identifier: GPL-2.0-or-later
"""The flash translation layer: where data lie, garbage collection, wear. Compiled."""
