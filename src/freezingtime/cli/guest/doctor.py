# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime doctor`: checks for what is missing, and how to install it."""

from __future__ import annotations

from typing import Annotated

from rich.text import Text

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.options import command_app
from freezingtime.host.foreign_text import show
from freezingtime.runs.options import RunOptions


@takes_options()
def doctor_command(options: Annotated[RunOptions, Only(["qemu"])]) -> int:
    """Check what a run needs, and name what to install.

    Exit status 1 if something is missing.
    """
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.doctor import State, examine

    signs = {
        State.GOOD: ("ok", "green"),
        State.MISSING: ("missing", "red"),
        State.INFORMATION: ("info", "dim"),
    }
    findings = examine(options.qemu)
    print_columns(
        [(Text(*signs[finding.state]), finding.what, finding.detail) for finding in findings]
    )
    missing = [finding for finding in findings if finding.state is State.MISSING]
    for finding in missing:
        show(f"{finding.what}: {finding.cure}")
    return 1 if missing else 0


app = command_app(doctor_command)
