# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's percentiles in the guest against the record: the same, but for the guest's software.

fio keeps latencies in a histogram of 64 buckets for each power of two, and reports the
middle of a bucket; so its percentiles are right to half a bucket, its mean is exact. The
guest's software time is the difference of the means, and must be that at each percentile.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.guestlib import fio_command, read_record, run_guest

pytestmark = pytest.mark.guest

BUCKETS_PER_OCTAVE = 64
REQUESTS = 2000
#: How far the software time of one request is from the mean of all.
JITTER_NS = 250

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9)

#: Its latencies are spread wide, so that the percentiles lie far apart.
DEVICE = """
model = "latency"
[parameters]
servers = 8
[parameters.read]
fixed = {kind = "lognormal", median = "80us", p99 = "2ms"}
[parameters.write]
fixed = {kind = "lognormal", median = "12us", p99 = "700us"}
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """fio's results and the record of one run."""
    directory = tmp_path_factory.mktemp("percentiles")
    (directory / "device.toml").write_text(DEVICE)
    job = fio_command(
        rw="randrw", number_ios=REQUESTS, percentile_list=":".join(map(str, PERCENTILES))
    )
    ran = run_guest(job, f"{directory}/device.toml,size=1GiB", out=directory / "run")
    return ran.fio(), read_record(directory / "run")


@pytest.mark.parametrize("operation", ["read", "write"])
def test_fio_has_the_percentiles_of_the_record(
    operation: str, seen: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    job, rows = seen
    fio = job[operation]["clat_ns"]
    device_ns = latencies_ns(rows, operation, fio["N"])
    software_ns = fio["mean"] - device_ns.mean()
    assert 1000 < software_ns < 5000
    compared = {float(name): value for name, value in fio["percentile"].items()}
    assert set(compared) == set(PERCENTILES)
    for percentile, fio_ns in compared.items():
        # The nearest rank, as fio has it.
        ours_ns = device_ns[math.ceil(percentile / 100 * len(device_ns)) - 1] + software_ns
        assert abs(fio_ns - ours_ns) <= half_bucket_ns(ours_ns) + JITTER_NS, percentile
    assert max(compared.values()) > 20 * min(compared.values())


def latencies_ns(rows: list[dict[str, Any]], operation: str, count: int) -> NDArray[np.int64]:
    """What the record says of fio's requests, sorted; the kernel's own, before, are left out."""
    all_ns = [
        row["delivery_ns"] - row["arrival_ns"] for row in rows if row["operation"] == operation
    ]
    assert count <= len(all_ns) <= count + 16
    return np.sort(np.array(all_ns[-count:]))


def half_bucket_ns(latency_ns: float) -> float:
    """Half the width of fio's bucket that a latency is in."""
    return 2.0 ** math.floor(math.log2(latency_ns)) / BUCKETS_PER_OCTAVE / 2
