# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of explorations and sweeps, for who writes them and who reads them."""
