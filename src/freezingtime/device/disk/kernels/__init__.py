# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hard disk does, compiled; the model calls :mod:`.entry`, and :mod:`.trace` for traces."""
