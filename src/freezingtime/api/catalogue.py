# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.devices``: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.registry import describe

if TYPE_CHECKING:
    import pandas as pd


def devices() -> pd.DataFrame:
    """The devices of the catalogue: name, class, model, capacity in bytes if fixed, summary."""
    import pandas as pd

    frame = pd.DataFrame([describe(name).headline() for name in catalogue_names()])
    return frame.astype({"capacity_bytes": "Int64"})
