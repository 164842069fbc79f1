# SPDX-License-Identifier: GPL-2.0-or-later
"""Reasons why a machine ended, or makes no progress, before its job was done."""

from __future__ import annotations

from freezingtime.errors import GuestError, RunError, TimeLimitError
from freezingtime.units import format_time_ns
from freezingtime.vm.capture import Capture
from freezingtime.vm.console import complaints, is_panic
from freezingtime.vm.job_messages import DONE, EXIT
from freezingtime.vm.qemu.process import QemuProcess, describe_exit
from freezingtime.vm.service import EmulatorService


class Endings:
    """Finds out why, from QEMU, the emulator and the console; each method makes an error."""

    def __init__(self, qemu: QemuProcess, service: EmulatorService, console: Capture) -> None:
        self._qemu = qemu
        self._service = service
        self._console = console

    def over_time(self, limit_ns: int, guest_ns: int) -> TimeLimitError:
        """Return the error of a job that used up its guest time."""
        limit = format_time_ns(limit_ns)
        error = TimeLimitError(
            f"the job did not end within its limit of {limit} of guest time; raise it with "
            "--time-limit"
        )
        error.guest_ns = guest_ns
        return error

    def silence(self, silence_s: float) -> RunError:
        """Return the error of a machine that has been silent for that long."""
        stands = f"guest time stands at {self._guest_time()}"
        if disk := self._service.totals.device_at_work:
            return RunError(
                f"the device of {disk} has been in a call for {silence_s:.0f} s; {stands}"
            )
        return RunError(
            f"QEMU has been silent for {silence_s:.0f} s; {stands}; {self._console_tail()}"
        )

    def too_late(self, word: str, deadline_s: float) -> RunError:
        """Return the error of a guest that did not send ``word`` in that real time."""
        if word == EXIT:
            return TimeLimitError(
                f"the job did not end within its limit of {deadline_s:g}s of real time; "
                f"guest time is {self._guest_time()}; raise the limit with --real-time-limit"
            )
        if word == DONE:
            return RunError(
                f"the guest did not hand over its data within {deadline_s:g} s of the job's end; "
                f"guest time is {self._guest_time()}; {self._console_tail()}"
            )
        return GuestError(
            f"the guest was not ready within {deadline_s:g} s of real time (--boot-deadline); "
            f"guest time is {self._guest_time()}; {self._console_tail()}"
        )

    def _guest_time(self) -> str:
        return format_time_ns(self._service.totals.now_ns)

    def failure(self) -> BaseException:
        """Return the error when the emulator or QEMU ended before the job."""
        status = self._qemu.await_exit()
        error = self._service.error
        killed = status is not None and status < 0  # killed from outside, not ended by the agent
        if isinstance(error, OSError) and not killed:
            return RunError(f"the emulator failed: {error}")
        if error is not None and not killed:
            return error
        words = self._qemu.last_words()
        if status == 0 and not words:
            return GuestError(
                f"the guest {self._guest_end()} before the job ended; {self._console_tail()}"
            )
        words = words or self._console_tail()
        return RunError(f"QEMU {describe_exit(status)} before the job ended: {words}")

    def _guest_end(self) -> str:
        if is_panic(self._console.lines()):
            return f"died of {complaints(self._console.lines())[0]!r}"
        return "shut down or rebooted"

    def _console_tail(self) -> str:
        lines = self._console.last_lines(3)
        return "the console's last lines: " + " | ".join(lines) if lines else "the console is empty"
