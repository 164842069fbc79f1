# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the models that can be fitted."""

EMPIRICAL, LATENCY = "empirical", "latency"
MODELS = (EMPIRICAL, LATENCY)
