# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log of a run: its disks' devices, recorded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.trace.writes.log import WriteLogWriter
from freezingtime.trace.writes.recorded_device import RecordedDevice
from freezingtime.vm.capture import Capture
from freezingtime.vm.service import DiskPlan


class WriteRecording:
    """Disks whose writes are logged into a run's directory."""

    def __init__(self, out: Path, disks: Sequence[DiskPlan], cleanup: contextlib.ExitStack) -> None:
        """``cleanup`` closes the log, after the machine that is entered there later.

        Raises:
            InputError: the log cannot be written.
        """
        #: The job's output, once there is a machine.
        self.stdout: Capture | None = None
        sizes = [disk.medium.size_bytes // SECTOR_BYTES for disk in disks]
        log = cleanup.enter_context(WriteLogWriter(out, sizes))
        #: The disks as the machine is to have them.
        self.disks = [
            dataclasses.replace(
                disk, device=RecordedDevice(disk.device, number, log, self._output_bytes)
            )
            for number, disk in enumerate(disks)
        ]

    def _output_bytes(self) -> int:
        return 0 if self.stdout is None else self.stdout.printed_bytes()
