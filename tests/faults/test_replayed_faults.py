# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of devices without a guest: what a replay's record and its lines say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import freezingtime as ft
from freezingtime.cli.device.replay import app
from freezingtime.errors import InputError

RULES = ("unreadable,sectors=0..2047", "slow=3,nth=5", "hang,from=5ms,for=10ms")
NEVER = "lose,operation=discard"


@pytest.mark.parametrize("load", ["rate=5k", "qd=8,queue=2"])
def test_a_replays_record_says_which_requests_were_hit(load: str, tmp_path: Path) -> None:
    workload = f"randread,bs=4k,{load},count=300,size=8MiB"
    devices = ["constant:100us,size=16MiB", "constant:50us,size=16MiB"]
    with pytest.warns(UserWarning, match=f"the fault {NEVER} was never hit"):
        result = ft.replay(workload, devices, faults=[*RULES, NEVER], out=tmp_path / "r.parquet")
    requests = result.requests
    assert [str(name).partition(",")[0] for name in requests.disk.cat.categories] == [
        device.partition(",")[0] for device in devices
    ]
    for _, mine in requests.groupby("disk", observed=True):
        bad = mine[mine.fault == "unreadable"]
        assert set(bad.sequence) == set(mine[mine.offset_bytes < 1 << 20].sequence)
        assert len(bad) > 10
        hanging = mine[mine.fault == "hang"]
        assert len(hanging)
        assert set(hanging.delivery_ns) <= {15_000_000}
        (slow,) = mine[mine.sequence == 4].fault
        assert slow in ("slow", "unreadable")
    header = result.recorded.record.header
    assert [disk.faults for disk in header.disks] == [(*RULES, NEVER)] * 2


def test_a_replay_says_of_each_rule_how_often_it_hit(capsys: pytest.CaptureFixture[str]) -> None:
    load = "randread,bs=4k,qd=1,count=300,size=8MiB"
    rules = ["--fault", "slow=3,nth=5", "--fault", NEVER]
    with pytest.raises(SystemExit) as ended:
        app(["--workload", load, "--device", "constant:100us", "--json", *rules])
    said = capsys.readouterr()
    (device,) = json.loads(said.out)["devices"]
    assert ended.value.code == 0
    assert device["faults"] == [{"rule": "slow=3,nth=5", "hits": 1}, {"rule": NEVER, "hits": 0}]
    assert f"fault slow=3,nth=5 of {device['device']}: hit 1 request\n" in said.err
    assert f"fault {NEVER} of {device['device']}: NEVER HIT\n" in said.err


def test_a_wrong_rule_of_a_replay_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^--fault slow=fast: slow = 'fast': must be a number"):
        ft.replay("randread,count=1", ["constant:1us"], faults=["slow=fast"])
