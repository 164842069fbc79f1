# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of one line for each request: CSV in all its forms, and numbers divided by blanks."""
