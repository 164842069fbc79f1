# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps whose plan is a TOML file."""
