# SPDX-License-Identifier: GPL-2.0-or-later
"""What all pages have in common: their layout, style and script."""
