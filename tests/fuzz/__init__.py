# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzing of all that reads bytes of others."""
