# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime explain`: the words of the summary, the tables and the report."""

from __future__ import annotations

from typing import Annotated

from freezingtime.cli.options import command_app
from freezingtime.cli.output.columns import print_columns
from freezingtime.errors import InputError, did_you_mean
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Values

#: Each word as it is printed, and what it means.
TERMS = {
    "disturbed": "Something of the host's making reached the guest at a time of the host's; the "
    "run is not valid. 'doctor' and another QEMU may help.",
    "exact": "Every request was delivered to the guest at the very nanosecond that the device's "
    "model says: none was late. It says nothing of how good the model is.",
    "frozen": "Real time for which guest time stood still, because the medium, where the data "
    "really is, had not finished a request that was due. It costs patience and no exactness: the "
    "guest does not see it. Less of it: medium=memory, or a faster disk under the medium.",
    "guest time": "Time on the guest's own clocks, which the application measures. All latencies "
    "and rates are in guest time, and are the same in every run and on every machine.",
    "host": "In a replay: the part of a latency that a request spent in the host's queue, before "
    "the device took it.",
    "kvm clock": "The host's CPU executed the guest ('run --clock kvm'): a request is on time "
    "within '--max-leak', and no two runs are the same.",
    "late": "Delivered to the guest after the time that the device's model says; a run with a "
    "late request is not exact.",
    "mean": "Average latency: from the guest's doorbell to its interrupt.",
    "p50": "Median: half of the requests took no longer than this latency, which did occur.",
    "p99": "99 of 100 requests took no longer than this latency, which did occur; what an "
    "application waits for now and then. p99.9 is the same of 999 in 1,000.",
    "real time": "Time on the clock on your wall: how long you waited.",
    "skipped": "Under the KVM clock: computing that the guest lost as it was interrupted a little "
    "ahead of a completion, so that this is not late.",
    "taken out": "Under the KVM clock: time in which the host gave the guest's CPU to another "
    "process, and that the guest did not see; what is 'left in' it did.",
    "the queue grows": "In an open loop: requests arrive faster than the device serves them. "
    "Latencies are then those of the queue, and grow with the length of the trace.",
    "valid": "A run is valid if it is exact, was not disturbed, and the guest's kernel had no "
    "complaint. One that is not ends with exit status 3.",
    "warped": "Guest time that was skipped, because the guest was idle until the next event, such "
    "as a completion: with it a run on a slow device takes less real time than guest time.",
}


def explain_command(
    term: Annotated[
        str | None,
        Argument("TERM", "A word of the output, such as `frozen`. Default: all.", Values.TERM),
    ] = None,
) -> int:
    """Explain the words that runs, replays and reports are described in.

    Example: `freezingtime explain frozen`
    """
    if term is None:
        print_columns(list(TERMS.items()))
        return 0
    name = " ".join(term.lower().split())
    if name not in TERMS:
        raise InputError(
            f"explain {term}: unknown; {did_you_mean(name, TERMS)}available: {', '.join(TERMS)}"
        )
    show(f"{name}: {TERMS[name]}")
    return 0


app = command_app(explain_command)
