# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that users choose a guest image by; a help text with them needs no image."""

#: What the small guest's image is called.
MINI = "mini"
#: What a guest is made of unless it is said otherwise.
DEFAULT_SUITE = "bookworm"
#: The file systems of a debian image's root disk.
FILE_SYSTEM_NAMES = ("ext4", "xfs", "btrfs")
