# SPDX-License-Identifier: GPL-2.0-or-later
"""A shop that stores its orders in SQLite."""

from __future__ import annotations

from pathlib import Path

from experiments.crash.programs import bring, write_script

_JOB = """#!/bin/sh
sql() { ./sqlite3 /data/shop.db "$@"; }
sql "pragma journal_mode = JOURNAL" "create table orders (number integer)" >/dev/null
for number in $(seq ORDERS); do
    sql "pragma synchronous = SYNCHRONOUS" "insert into orders values ($number)" || exit
    echo "ACK $number"
done
"""
#: Finds the orders that had been acknowledged. In one process: processes are what recoveries cost.
CHECK = """#!/bin/sh
query='pragma integrity_check;' expected=ok
while read -r number; do
    query="$query select count(*) from orders where number = $number;"
    expected="$expected
1"
done <acked
found=$(./sqlite3 /data/shop.db "$query" 2>&1)
[ "$found" = "$expected" ] || { echo "orders are lost, or the database is damaged"; exit 1; }
"""


def write_shop(job: Path, *, synchronous: str, journal_mode: str, orders: int) -> None:
    """Write the job into its directory.

    Raises:
        RunError: ``sqlite3`` is not installed.
    """
    bring("sqlite3", job)
    values = {"JOURNAL": journal_mode, "ORDERS": str(orders), "SYNCHRONOUS": synchronous}
    text = _JOB
    for word, value in values.items():
        text = text.replace(word, value)
    write_script(job / "run", text)
