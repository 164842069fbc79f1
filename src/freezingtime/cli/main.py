"""The command line's entry point: the commands, and what errors become.

Exit statuses: a command's own; 1 a failure while running; 2 bad input; 3 the run's
figures are not valid; 130 and 143 for Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from freezingtime._version import __version__
from freezingtime.cli import doctor, image, run, serve
from freezingtime.errors import FreezingTimeError, InputError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
_SIGNAL_BASE = 128

app = typer.Typer(
    name="freezingtime",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"freezingtime {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run a real guest on block devices that you do not have.

    The guest's disks behave, to the nanosecond of guest time, like the device that you
    name; the bytes live on whatever medium you have. While a slow medium works, guest time
    stands still.

    Start with `freezingtime doctor`, then
    `freezingtime run --disk constant:10us -- fio --name=t --filename=/dev/vda --direct=1 --rw=randread --number_ios=1000 --size=1g`.
    """


app.command("run", context_settings={"ignore_unknown_options": True})(run.run_command)
app.command("serve")(serve.serve_command)
app.command("doctor")(doctor.doctor_command)
app.add_typer(image.app, name="image")


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_SIGNAL_BASE + signal.SIGTERM)


def _run() -> int:
    try:
        status = app(standalone_mode=False)
    except click.exceptions.Abort:
        return _SIGNAL_BASE + signal.SIGINT
    except click.ClickException as error:
        error.show()
        return EXIT_BAD_INPUT
    except InputError as error:
        print(f"freezingtime: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except FreezingTimeError as error:
        print(f"freezingtime: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("freezingtime: interrupted", file=sys.stderr)
        return _SIGNAL_BASE + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to tell it.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def main() -> NoReturn:
    """Run the command line and end the process."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    status = _run()
    if any(thread.name.startswith("medium") for thread in threading.enumerate()):
        # A worker is stuck in a medium that does not answer; do not wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
