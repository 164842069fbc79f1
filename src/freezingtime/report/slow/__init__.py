# SPDX-License-Identifier: GPL-2.0-or-later
"""Slow operations of an application, and what they waited for."""
