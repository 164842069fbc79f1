# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays of a record are those that pyarrow makes of the same values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.trace.record_schema import column_of

KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=5),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_they_are_the_same(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(KINDS[kind], max_size=40))
    made = column_of(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


@pytest.mark.parametrize("kind", [pa.int64(), pa.int16()], ids=str)
@given(pairs=st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=40))
def test_missing_values_are_missing(kind: pa.DataType, pairs: list[tuple[int, bool]]) -> None:
    values = np.array([value for value, _ in pairs], np.int64)
    is_null = np.array([missing for _, missing in pairs], np.bool_)
    made = column_of(values, kind, is_null)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind, mask=is_null))
    assert made.null_count == is_null.sum()
