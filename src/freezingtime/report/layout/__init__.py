# SPDX-License-Identifier: GPL-2.0-or-later
"""The layout, style and script of all pages."""
