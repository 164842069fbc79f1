# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts of a guest that recovers from power cuts and is checked, state after state.

One script prepares the guest, and then goes on with the next state whenever the machine continues.
To the host it is the job runner (``vm/guest/job-runner``): it finds a script for each state on the
control disk, and sends STARTED and EXIT. It does without all that a job may want and a recovery
does not: most of a recovery's cost is the processes that are started for it.

In the end it unmounts the disks and says what else is not as it was before the state: such a guest
gets no other one.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from freezingtime.disk.mount import Mount
from freezingtime.vm.control_disk import BLOCK_BYTES, MESSAGE_OFFSET_BYTES, SCRIPT_OFFSET_BYTES

#: Files of the guest's ``/job``: what was acknowledged; and the check, under a name that is no
#: program's of a job, or a check that starts one called ``check`` would start itself for ever.
ACKED_NAME, CHECK_NAME = "acked", ".recovery-check"
#: Begins the line behind a check's output that says what was left behind.
TRACE = "freezingtime-recovery: "

_STAMP, _STATE, _RUNNER = "/run/recovery-prepared", "/run/recovery-state", "/run/freezingtime"
#: As much of a name as every controller has room for.
_SERIAL_LENGTH = 20

# Programs are put where they were before, so that QEMU need not translate them again; no process
# number comes twice.
_PREPARATION = """#!/bin/sh
echo 0 >/proc/sys/kernel/randomize_va_space
echo 4194304 >/proc/sys/kernel/pid_max
load() { ! command -v modprobe >/dev/null || modprobe -q "$1"; }
bad() { echo "$1"; exit 1; }
for disk in /sys/block/sd*; do
    if grep -q freezingtime-control "$disk/device/vpd_pg80" 2>/dev/null; then
        control=/dev/${disk##*/}
    fi
done
[ -b "$control" ] || bad "no control disk"
"""

_MESSAGES = f"""
cannot_report() {{ echo "job-runner: cannot report: $1" >/dev/console; }}
report() {{
    dd of=$control bs={BLOCK_BYTES} seek={MESSAGE_OFFSET_BYTES // BLOCK_BYTES} count=1 \\
        conv=sync,notrunc oflag=direct 2>/dev/null <<EOF || cannot_report "$1"
$1
EOF
}}
read_blocks() {{
    dd if=$control bs={BLOCK_BYTES} skip={SCRIPT_OFFSET_BYTES // BLOCK_BYTES} count="$1" \\
        iflag=direct 2>/dev/null >{_STATE}
}}
next_state() {{
    read_blocks 1
    read -r _ blocks <{_STATE}
    [ "$blocks" -eq 1 ] || read_blocks "$blocks"
    . {_STATE}
}}
"""

# What a system does when it boots after a power cut: ext4 is repaired as far as nobody is asked
# (a torn commit block of its journal is), and mounted, which replays a journal. Before that the
# kernel forgets the partitions of the disk that was in this one's place.
_RECOVERY = f"""
find_disk() {{
    for serial in "$1" "$2"; do
        for bus in virtio scsi ata nvme; do
            device=/dev/disk/by-id/$bus-$serial
            [ ! -b "$device" ] || return 0
        done
    done
    bad "no disk $1"
}}
insert() {{
    find_disk "$1" "$2"
    ! command -v blockdev >/dev/null || blockdev --rereadpt "$device" || bad "{TRACE}$1 is in use"
}}
recover() {{
    find_disk "$1" "$2"
    if [ "$3" = ext4 ] && command -v e2fsck >/dev/null; then
        said=$(e2fsck -p "$device" 2>&1)
        status=$?
        [ $status -le 1 ] || bad "$4 cannot be repaired: e2fsck -p exited with $status: $said"
    fi
    said=$(mount -t "$3" "$device" "$4" 2>&1) || bad "$4 cannot be mounted: $said"
}}
"""

_TRACES = f"""
count_mounts() {{
    mounts=0
    while read -r _; do mounts=$((mounts + 1)); done </proc/mounts
}}
find_devices() {{
    set -- /sys/block/*
    devices=$*
}}
look_around() {{
    read -r own _ </proc/self/stat
    count_mounts
    find_devices
    mounts_before=$mounts devices_before=$devices
}}
trace() {{ printf '\\n{TRACE}%s\\n' "$1"; exit 0; }}
leave() {{
    while read -r _ point _; do
        [ "$point" != "$1" ] || umount "$1" 2>/dev/null || trace "$1 is in use"
    done </proc/mounts
}}
look_for_traces() {{
    count_mounts
    [ "$mounts" -eq "$mounts_before" ] || trace "$mounts mounts, not $mounts_before"
    find_devices
    [ "$devices" = "$devices_before" ] || trace "other block devices"
    for process in /proc/[0-9]*; do
        [ "${{process#/proc/}}" -gt "$own" ] || continue
        command=
        {{ read -r command <"$process/cmdline"; }} 2>/dev/null
        [ -z "$command" ] || trace "the process $command"
    done
    for kind in shm sem msg; do
        ! {{ read -r _ && read -r _; }} </proc/sysvipc/$kind || trace "shared memory ($kind)"
    done 2>/dev/null
    changed=$(find / /tmp /run /dev /dev/shm -xdev \\( -path /dev -o -path '/dev/*' \\) ! -type f \\
        -o -newer {_STAMP} ! -path {_STATE} ! -path {_RUNNER} ! -path /job/{ACKED_NAME} -print)
    [ -z "$changed" ] || trace "$(echo $changed)"
}}
"""

_LOOP = """
report 'EXIT 0'
while :; do
    next_state
    report STARTED
    (cd /job && check_state)
    report "EXIT $?"
done
"""


def recovery_script(
    names: Sequence[str], mounts: Mapping[str, Mount], *, leaves_disks: bool
) -> bytes:
    """The script that prepares a guest and recovers from states.

    ``names`` are of all disks, ``mounts`` of those with a file system to recover. With
    ``leaves_disks`` the guest may get another state.
    """
    serials = {name: name[:_SERIAL_LENGTH] for name in names}
    # One inside another one's directory comes after it, and is left before.
    ordered = sorted(mounts.items(), key=lambda item: item[1].point)
    prepare, recover, leave = [_PREPARATION], ["check_state() {", "look_around"], []
    for _, mount in ordered:
        prepare += [
            shlex.join(["mkdir", "-p", mount.point]),
            shlex.join(["load", mount.file_system]),
        ]
        leave.append(shlex.join(["leave", mount.point]))
    recover += [shlex.join(["insert", name, serials[name]]) for name in names]
    recover += [
        shlex.join(["recover", name, serials[name], mount.file_system, mount.point])
        for name, mount in ordered
    ]
    recover.append(f"/job/{CHECK_NAME} || exit")
    if leaves_disks:
        recover += ["cd /", *reversed(leave), "look_for_traces"]
    # There are programs to which what is newer is so by a second.
    ready = [f": >/job/{ACKED_NAME}", f": >{_STATE}", f": >{_STAMP}", "sleep 1"]
    parts = [*prepare, _MESSAGES, _RECOVERY, _TRACES, *recover, "}", *ready, _LOOP]
    return "\n".join(parts).encode()


def state_script(acked: bytes) -> bytes:
    """The script of one state, for which these lines had been acknowledged: whole blocks."""
    quoted = b"'" + acked.replace(b"'", b"'\\''") + b"'"
    body = b"printf %s " + quoted + f" >/job/{ACKED_NAME}\nreturn 0\n".encode()
    head = b": %d\n"
    blocks = 1
    while len(head % blocks + body) > blocks * BLOCK_BYTES:
        blocks += 1
    return (head % blocks + body).ljust(blocks * BLOCK_BYTES, b"\n")
