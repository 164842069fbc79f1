# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime shell`: a person at the console of the machine that jobs run in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.guest.terminal import RawTerminal
from freezingtime.cli.options import AllowCodeOption, command_app
from freezingtime.host.foreign_text import say
from freezingtime.option import list_options
from freezingtime.runs.options import MachineOptions, RunOptions
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.progress.step_lines import StepLines

if TYPE_CHECKING:
    from freezingtime.emulator.loop import Totals
    from freezingtime.runs.progress.meter import DiskMeter

_SCRIPT = """\
#!/bin/sh
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty sane rows {rows} cols {columns}
export TERM={term}
shell=$(command -v bash || echo /bin/sh)
exec setsid -c "$shell" -i
"""


class _LeftError(Exception):
    """The end key was pressed."""


class _Console(RunObserver):
    """Hands the terminal to the guest when the machine is ready, and ends the run by key."""

    def __init__(self, terminal: RawTerminal, steps: StepLines) -> None:
        self._terminal = terminal
        self._steps = steps

    def preparing(self, step: str, done: int, total: int) -> None:
        """Print the step."""
        self._steps(step, done, total)

    def running(self, totals: Totals, _meters: Sequence[DiskMeter]) -> None:
        """Let the user type; raise when they want to leave."""
        if self._terminal.left.is_set():
            raise _LeftError
        self._steps.rest()
        self._terminal.start()


@takes_options()
def shell_command(
    *,
    options: Annotated[RunOptions, Only([*list_options(MachineOptions), "out"])],
    allow_code: AllowCodeOption = False,
) -> int:
    """Open a shell in a guest whose disks are the devices you name.

    The machine is that of `run`, except for its clock: guest time does not run ahead of real
    time while the guest idles. Results depend on when you type: they are not
    reproducible. `exit` ends the shell and the machine, which `--save` then keeps; Ctrl-]
    ends the machine at once. With `--out`, `freezingtime tune` changes its devices
    meanwhile. The exit status is the shell's.

    Example: `freezingtime shell --disk samsung-870-evo-1tb`
    """
    from freezingtime.runs.plan import make_plan
    from freezingtime.runs.run import run

    with RawTerminal() as terminal:
        plan = make_plan(options, script=_script())
        say("'exit' or Ctrl-] ends the guest")
        with StepLines() as steps:
            try:
                console = _Console(terminal, steps)
                return run(plan, console, terminal.guest_end, is_tunable=True).job.exit_status
            except _LeftError:
                return 0


def _script() -> bytes:
    """A shell on the serial console, which is to know the user's terminal."""
    size = shutil.get_terminal_size()
    term = os.environ.get("TERM", "")
    if not re.fullmatch(r"[A-Za-z0-9+._-]+", term):
        term = "vt100"
    return _SCRIPT.format(rows=size.lines, columns=size.columns, term=term).encode()


app = command_app(shell_command)
