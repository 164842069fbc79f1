# SPDX-License-Identifier: GPL-2.0-or-later
"""SSD, compiled; the model calls :mod:`.entry`."""
