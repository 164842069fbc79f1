# SPDX-License-Identifier: GPL-2.0-or-later
"""The program's first lines: signals are in hand before the rest is imported, which is slow."""

from __future__ import annotations

from typing import NoReturn

from freezingtime.cli import signals


def main() -> NoReturn:
    """Run the command line and end the process."""
    signals.exit_on_signals()
    from freezingtime.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
