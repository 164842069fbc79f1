# SPDX-License-Identifier: GPL-2.0-or-later
"""What an SSD does, compiled; the model calls :mod:`.entry`."""
