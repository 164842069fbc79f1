# SPDX-License-Identifier: GPL-2.0-or-later
"""The version, read by the build and by `freezingtime --version`."""

__version__ = "0.1.0"
