# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard disks as mechanics: zones, arm, platter, cache and command queue.

After Ruemmler and Wilkes, "An Introduction to Disk Drive Modeling", IEEE Computer 27(3), 1994.
"""

from freezingtime.device.disk.model import DiskDevice
from freezingtime.device.disk.parameters import DiskParams

__all__ = ["DiskDevice", "DiskParams"]
