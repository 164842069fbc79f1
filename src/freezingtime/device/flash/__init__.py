# SPDX-License-Identifier: GPL-2.0-or-later
"""SSDs: flash dies behind channels, a flash translation layer, a DRAM write buffer."""

from freezingtime.device.flash.model import FlashDevice
from freezingtime.device.flash.parameters import FlashParams

__all__ = ["FlashDevice", "FlashParams"]
