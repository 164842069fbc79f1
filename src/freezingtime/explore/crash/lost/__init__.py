# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for sectors that a power cut took: files and structures of a file system."""
