# SPDX-License-Identifier: GPL-2.0-or-later
"""A bank that keeps its accounts in PostgreSQL, with checksums: a torn page cannot go unseen.

The disk is filled once. Then each transaction of the job changes every account, so that a
checkpoint has many pages to write, and WAL that is replayed has records for all of them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from examples import databases
from experiments.crash.programs import find, write_script

import freezingtime as ft
from freezingtime.errors import RunError
from freezingtime.images.build import build_debian_image
from freezingtime.images.debian.image import DebianPlan

GUEST = databases.IMAGE
#: Where the disk is mounted.
POINT = "/bank"
#: What the job prints right before it makes its checkpoint, and right after.
CHECKPOINT_BEGINS, CHECKPOINT_ENDS = "the checkpoint begins", "the checkpoint ends"
_SIZE_BYTES = 192 << 20
_ACCOUNTS = 400

_POSTGRES = "PATH=$(dirname /usr/lib/postgresql/*/bin/postgres):$PATH PGHOST=/tmp"
# Frozen rows have no hints to be set later. With checksums PostgreSQL logs the whole page for the
# first hint on it, whatever full_page_writes is; and such a page need not be whole on the disk.
_FILL = f"""#!/bin/sh
set -e
chown postgres {POINT}
cat >/tmp/sql <<SQL
create table accounts (number integer primary key, version integer, owner text)
    with (fillfactor = 50);
insert into accounts select n, 0, repeat(md5(n::text), 8) from generate_series(1, {_ACCOUNTS}) as n;
create extension amcheck;
vacuum (freeze) accounts;
SQL
cat >/tmp/settings <<CONF
unix_socket_directories = '/tmp'
listen_addresses = ''
autovacuum = off
bgwriter_lru_maxpages = 0
checkpoint_timeout = 1h
wal_level = minimal
max_wal_senders = 0
shared_buffers = 8MB
min_wal_size = 2MB
log_line_prefix = ''
CONF
su postgres -c 'set -e
    export {_POSTGRES}
    cd {POINT}
    initdb -k --no-sync --locale=C --wal-segsize=1 -D data
    cat /tmp/settings >>data/postgresql.conf
    pg_ctl -s -w -l /tmp/log -D data start
    psql -q -v ON_ERROR_STOP=1 -f /tmp/sql postgres
    pg_ctl -s -w -D data stop'
sync
"""
_JOB = f"""#!/bin/sh
su postgres -c '
    export {_POSTGRES}
    query() {{ psql -q -c "$1" postgres || exit; }}
    pay() {{
        query "update accounts set version = $1; insert into accounts values ({_ACCOUNTS} + $1, $1)"
        echo "ACK $1"
    }}
    pg_ctl -s -w -l /tmp/log -o "SETTINGS" -D {POINT}/data start || {{ cat /tmp/log; exit 1; }}
    pay 1
    pay 2
    echo "{CHECKPOINT_BEGINS}"
    query checkpoint
    echo "{CHECKPOINT_ENDS}"
    pay 3
    LAST'
"""
#: All accounts are as one transaction left them, the last one acknowledged or a later one.
CHECK = f"""#!/bin/sh
last=$(tail -n 1 /job/acked)
export last
su postgres -c '
    export {_POSTGRES}
    bad() {{ tail -n 5 $1; echo "$2"; exit 1; }}
    pg_ctl -s -w -l /tmp/log -D {POINT}/data start || bad /tmp/log "the server does not start"
    psql -q -t -A -v ON_ERROR_STOP=1 -f - postgres >/tmp/found 2>&1 <<SQL ||
select bt_index_check(\\$\\$accounts_pkey\\$\\$, true);
select * from verify_heapam(\\$\\$accounts\\$\\$);
select count(*) - {_ACCOUNTS}, min(version), max(version) from accounts;
SQL
        bad /tmp/found "the database is damaged"
    found=$(tail -n 1 /tmp/found)
    version=${{found##*|}}
    [ "$(cat /tmp/found)" = "
$version|$version|$version" ] || bad /tmp/found "accounts are not of one version"
    [ "$version" -ge "${{last:-0}}" ] || bad /tmp/found "a transaction is lost"'
"""


def write_bank(job: Path, *, settings: str = "", last: str = ":") -> None:
    """Write the job into its directory; ``last`` is what it does in the end."""
    write_script(job / "run", _JOB.replace("SETTINGS", settings).replace("LAST", last))


def fill_bank(directory: Path) -> str:
    """Make the disk with the database, unless it was; return what a disk of it has in ``--disk``.

    The guest is built if need be.

    Raises:
        InputError: this host builds no guests.
        RunError: the guest could not be built, or could not fill the disk.
    """
    build_debian_image(GUEST, DebianPlan(databases.PACKAGES, databases.ROOT))
    image = directory / "bank.img"
    medium = f"medium=file:{image},mount={POINT}"
    if image.exists():
        return medium
    begun = image.with_suffix(".begun")
    with begun.open("wb") as file:
        file.truncate(_SIZE_BYTES)
    subprocess.run([find("mkfs.ext4"), "-q", "-F", begun], check=True, capture_output=True)
    disk = f"constant:0,medium=file:{begun},writable=yes,mount={POINT}"
    script = directory / "fill"
    write_script(script, _FILL)
    filled = ft.run(disks=[disk], job=script, guest=GUEST, progress=False)
    if filled.exit_status:
        raise RunError(f"the bank could not be filled: {filled.stderr}")
    begun.rename(image)
    return medium
