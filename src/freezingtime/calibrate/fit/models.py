# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the models that can be fitted."""

EMPIRICAL, LATENCY = "empirical", "latency"
#: Of a load-latency curve, which the others are not made of.
FLASH = "flash"
#: Those that are fitted to logs.
MODELS = (EMPIRICAL, LATENCY)
