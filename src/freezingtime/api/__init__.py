# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python interface; ``import freezingtime`` has its names."""
