# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that boots again and again: ``boots.py COUNT CPUS CLOCK KERNEL``, run in the lab.

The kernel (``boots_kernel.c``) resets the machine when it is done, so each boot goes through the
firmware and starts CPUs that the one before has left as they were. Prints a line of JSON at the
end.

A machine that does not get on ends this with a line that says at which boot, and where guest time
stands.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.host.patience import Patience
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.prepare import prepare
from freezingtime.vm.machine import Machine

#: A boot takes less than a second of the lab's.
_BOOT_DEADLINE_S = 120.0
_DISK = "constant:100us,size=16MiB,delay=3ms"
_BLOCKS_PER_CPU = 8


@dataclass(frozen=True, slots=True)
class _Kernel:
    """What the machine boots instead of a guest's image."""

    kernel_path: Path
    initrd_path: Path
    name: str = "boots"
    image_id: str = "boots"
    append: str = ""
    is_imported: bool = False


class _BootingMachine(Machine):
    def boot(
        self, count: int, expected: re.Pattern[str], on_boot: Callable[[int, int], None]
    ) -> None:
        """Let the machine boot so often, each of which ends with the expected line.

        ``on_boot`` gets how many have, and how far a counter was behind another in the last.

        Raises:
            RunError: one of them has not come to its end, or says something else.
        """
        self._plug_disks()
        self._execute("set-action", reboot="reset")
        self._execute("cont")
        patience = Patience(_BOOT_DEADLINE_S)
        said = self._cleanup.enter_context(self.console.copy_handle())
        text, done = "", 0
        while done < count:
            self._next_message()
            self._require_sound()
            self.console.take()
            text += said.read().decode(errors="replace")
            *lines, text = text.split("\n")
            for line in filter(None, (line.strip() for line in lines)):
                found = expected.fullmatch(line)
                if found is None:
                    raise RunError(f"boot {done + 1} says {line!r}, not {expected.pattern!r}")
                done += 1
                on_boot(done, int(found[1]))
                patience.renew()
            if patience.is_over:
                raise RunError(
                    f"boot {done + 1} has not ended in {_BOOT_DEADLINE_S:.0f} s; guest time is "
                    f"{self.totals.now_ns} ns, with {self.totals.request_count} requests done; "
                    f"the console has {text!r}"
                )


def main(count: int, cpus: int, clock: str, kernel: Path) -> None:
    """Boot so often, and print the account."""
    options = RunOptions(disks=(_DISK,), cpus=cpus, memory="128MiB", clock=clock, boot=True)
    plan = make_plan(options, script=b"")
    blocks = cpus * _BLOCKS_PER_CPU
    expected = re.compile(rf"{cpus} CPUs, {blocks} blocks, 0 wrong, (\d+) cycles behind")
    behind: list[int] = []
    with contextlib.ExitStack() as stack:
        prepared = prepare(plan, lambda *_: None, stack, stack)
        no_initrd = stack.enter_context(tempfile.NamedTemporaryFile())
        no_initrd.write(b"\0" * 4096)
        no_initrd.flush()
        config = replace(prepared.config, image=_Kernel(kernel, Path(no_initrd.name)))
        disks = [disk.plan for disk in prepared.disks]
        machine = stack.enter_context(_BootingMachine(config, disks))

        def on_boot(number: int, behind_cycles: int) -> None:
            behind.append(behind_cycles)
            print(f"boot {number}: {machine.totals.now_ns} ns", file=sys.stderr)

        machine.boot(count, expected, on_boot)
        totals = replace(machine.totals)
    account = {
        "boots": count,
        "cpus": cpus,
        "requests": totals.request_count,
        "late": totals.late_count,
        "behind_boots": sum(cycles > 0 for cycles in behind),
        "most_behind_cycles": max(behind),
        "latest_ns": max(totals.lateness, default=0),
        "guest_ns": totals.now_ns,
        "kvm": None if totals.kvm is None else totals.kvm._asdict(),
    }
    print(json.dumps(account))


if __name__ == "__main__":
    _count, _cpus, _clock, _kernel = sys.argv[1:]
    main(int(_count), int(_cpus), _clock, Path(_kernel))
