# SPDX-License-Identifier: GPL-2.0-or-later
"""What the paper published, as far as it is known here.

"Freezing Time: A New Approach for Emulating Fast Storage Devices Using VM" (Bona, Elias,
Ziviani, Cortes, Nou, Alves; MASCOTS 2018, doi:10.1109/MASCOTS.2018.00010): a patched QEMU 2.5
under KVM, which pauses the guest and turns back its clock; an SSD emulated on a hard disk.
"""

from __future__ import annotations

#: Mean latency error of the emulated SSD against the real one, in percent (abstract).
MEAN_ERROR_PERCENT = {"read": 6.08, "write": 6.78}
#: 95 % of the requests have an error within these, in percent (its figures 5 to 10).
BAND_PERCENT = {"read": (-13.0, 27.0), "write": (-18.0, 26.0)}
#: What is left of the latency where the emulated device is to take no time, in us.
RESIDUAL_US = (20.6, 37.5)
#: Table I: ffmpeg on the emulated RAM disk is within so many percent of a RAM disk.
FFMPEG_WITHIN_PERCENT = 2.0
#: Wall time of the conversion on the hard disk, emulating, and without emulation, in s.
WALL_EMULATED_S = 892
WALL_PLAIN_S = 669
#: How long the paper's medium, a hard disk, takes for a request.
MEDIUM_DELAY = "2.5ms..10ms"
