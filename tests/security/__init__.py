# SPDX-License-Identifier: GPL-2.0-or-later
"""Threats of the security page, each with the test that shows what cannot be done."""
