# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue: one TOML file per device, each figure with its source."""
