# SPDX-License-Identifier: GPL-2.0-or-later
"""Making an unmodified system run jobs.

The kernel's command line has systemd (242 or newer) start a shell, which reads a script from
the control disk; the script starts the job runner, from memory. Nothing is written to the
system's disk, and nothing needs to be prepared in it.
"""

from __future__ import annotations

import shlex
from importlib import resources

from freezingtime.vm.control_disk import BOOTSTRAP_BYTES, BOOTSTRAP_OFFSET_BYTES

# Without '$' and '%', which systemd would expand, and without quotes other than these.
_READ_AND_RUN = (
    "grep -l freezingtime-control /sys/block/sd*/device/vpd_pg80 | cut -d/ -f4 | "
    f"xargs -I@ dd if=/dev/@ bs={BOOTSTRAP_BYTES} skip={BOOTSTRAP_OFFSET_BYTES // BOOTSTRAP_BYTES} "
    "count=1 iflag=direct | sh"
)

#: Kernel arguments of such a system. cloud-init would look for a cloud, and wait for it.
KERNEL_ARGUMENTS = (
    f"systemd.run=\"/bin/sh -c '{_READ_AND_RUN}'\" "
    "systemd.run_success_action=none systemd.run_failure_action=none cloud-init=disabled"
)


def bootstrap_script() -> bytes:
    """The script on the control disk; :data:`BOOTSTRAP_BYTES` long, ends in empty lines."""
    files = resources.files("freezingtime.vm") / "guest"
    variables = {"job_runner": "job-runner", "unit": "freezingtime-job.service"}
    assignments = "".join(
        f"{name}={shlex.quote((files / file).read_text(encoding='utf-8'))}\n"
        for name, file in variables.items()
    )
    script = (assignments + (files / "bootstrap").read_text(encoding="utf-8")).encode()
    if len(script) > BOOTSTRAP_BYTES:
        raise RuntimeError(f"the bootstrap script has {len(script)} bytes")
    return script.ljust(BOOTSTRAP_BYTES, b"\n")
