# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard disk, compiled; the model calls :mod:`.entry`, and :mod:`.trace` for traces."""
