# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's entry point: the commands, and what errors become.

Exit statuses: a command's own; 1 a failure while running; 2 bad input; 3 the run's
figures are not valid; 4 the guest died or never got ready; 124 a time limit; 130 and 143
for Ctrl-C and SIGTERM. An error is one line on stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
import typer.main
from typer.core import TyperCommand

from freezingtime._version import __version__
from freezingtime.cli import signals
from freezingtime.cli.options import Group
from freezingtime.cli.output.standard_streams import prepare_standard_streams
from freezingtime.errors import FreezingTimeError, GuestError, InputError, TimeLimitError
from freezingtime.host.foreign_text import printable, say

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_GUEST_FAILED = 4
EXIT_TIME_LIMIT = 124  # as timeout(1) has it

_STATUSES = {
    InputError: EXIT_BAD_INPUT,
    GuestError: EXIT_GUEST_FAILED,
    TimeLimitError: EXIT_TIME_LIMIT,
}

# What Typer raises for wrong usage. It has no public name: older versions take the class from
# Click, newer ones from a copy of Click of their own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

# What Typer, or Click below it, writes behind a name that it does not know.
_SUGGESTION = re.compile(
    r"\.? (?:Did you mean (?P<one>[^?]*)\?|\(Possible options: (?P<some>[^)]*)\))$"
)


class _Listed(NamedTuple):
    """A command as a list has it, before the module that defines it is imported."""

    module: str
    summary: str
    """The first sentence of its help text."""


#: The commands in the order of the help text.
_COMMANDS = {
    "run": _Listed(
        "freezingtime.cli.guest.run",
        "Run a command in a guest whose disks are the devices you name.",
    ),
    "crash": _Listed(
        "freezingtime.cli.guest.crash",
        "Cut the power of the disks while a job runs, and check what is left.",
    ),
    "serve": _Listed(
        "freezingtime.cli.device.serve",
        "Serve a disk to any NBD client, in real time, until Ctrl-C.",
    ),
    "devices": _Listed(
        "freezingtime.cli.device.devices",
        "List the catalogue's devices, or show some: parameters, sources, predictions.",
    ),
    "replay": _Listed(
        "freezingtime.cli.device.replay",
        "Replay a trace or a synthetic workload on devices, without a guest.",
    ),
    "sweep": _Listed(
        "freezingtime.cli.results.sweep",
        "Run the same at many points: every combination of the values of some keys.",
    ),
    "worker": _Listed(
        "freezingtime.cli.results.worker",
        "Run points of a sweep that `freezingtime sweep --enqueue` has enqueued.",
    ),
    "store": _Listed(
        "freezingtime.cli.results.store",
        "List, check, prune and move the results that sweeps read back.",
    ),
    "measure": _Listed(
        "freezingtime.cli.device.measure",
        "Measure a real device with fio: a directory for `fit` and `validate`.",
    ),
    "fit": _Listed(
        "freezingtime.cli.device.fit",
        "Fit a device to measured latencies, and write its device file.",
    ),
    "validate": _Listed(
        "freezingtime.cli.device.validate",
        "Measure a real device, emulate it in a guest over a slower medium, and compare.",
    ),
    "accuracy": _Listed(
        "freezingtime.cli.device.accuracy",
        "Compare models with measured load-latency curves of the real drives.",
    ),
    "export": _Listed(
        "freezingtime.cli.results.export",
        "Export the record of a run in the format of another tool.",
    ),
    "report": _Listed(
        "freezingtime.cli.results.report",
        "Write a report of a run, of several side by side, of a sweep, or of power cuts.",
    ),
    "compare": _Listed(
        "freezingtime.cli.results.compare",
        "Compare runs: configuration, the first differing requests, and every metric.",
    ),
    "gate": _Listed(
        "freezingtime.cli.results.gate",
        "Compare a job or a replay as it is now with a baseline, and fail if it got worse.",
    ),
    "runs": _Listed(
        "freezingtime.cli.results.runs",
        "List runs (`run --out`) in directories, with their main metrics.",
    ),
    "explain": _Listed(
        "freezingtime.cli.results.explain",
        "Explain the words that runs, replays and reports are described in.",
    ),
    "doctor": _Listed(
        "freezingtime.cli.guest.doctor",
        "Check what a run needs, and name what to install.",
    ),
    "clock-check": _Listed(
        "freezingtime.cli.guest.clock_check",
        "Measure the error of a device's latency on this host, under each clock.",
    ),
    "shell": _Listed(
        "freezingtime.cli.guest.shell",
        "Open a shell in a guest whose disks are the devices you name.",
    ),
    "tune": _Listed(
        "freezingtime.cli.guest.live.tune",
        "Change parameters of the devices of a run, or a shell, in progress.",
    ),
    "image": _Listed(
        "freezingtime.cli.guest.image",
        "Build, list and remove guest images.",
    ),
    "lock": _Listed(
        "freezingtime.cli.guest.lock",
        "Write down every package that runs are made with: of the guest, and of QEMU.",
    ),
    "snapshot": _Listed(
        "freezingtime.cli.guest.snapshot",
        "List and remove snapshots that `run --save` made.",
    ),
}


class _Commands(Group):
    """The commands, each a module's ``app``, which is imported when its command is asked for.

    Lists of them, as in the help text, need no module: some take seconds to import.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=listed.summary) for name, listed in _COMMANDS.items()
        }
        self._is_listing = False
        _show_flags_without_a_type(self)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._is_listing or cmd_name not in _COMMANDS:
            return self.commands.get(cmd_name)
        module = importlib.import_module(_COMMANDS[cmd_name].module)
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        _show_flags_without_a_type(command)
        return command

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with self._listing():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    @contextlib.contextmanager
    def _listing(self) -> Iterator[None]:
        self._is_listing = True
        try:
            yield
        finally:
            self._is_listing = False


def _show_flags_without_a_type(command: Any) -> None:
    """Typer's help has ``<bool>`` behind a flag, as if it took a value.

    Some flags, such as ``--help``, are made when the parameters are asked for.
    """
    get_params = command.get_params

    def without_types(ctx: Any) -> Any:
        parameters = get_params(ctx)
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters

    command.get_params = without_types
    for subcommand in getattr(command, "commands", {}).values():
        _show_flags_without_a_type(subcommand)


app = typer.Typer(
    name="freezingtime",
    cls=_Commands,
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
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Run a real guest on block devices you do not have.

    The guest's disks behave, to the nanosecond of guest time, like the device you
    name; the data lives on any medium you have. While a slow medium works, guest time
    stands still.

    Start with `freezingtime doctor`, then
    `freezingtime run --disk constant:10us -- dd if=/dev/vda of=/dev/null bs=4k count=1000`.
    """


def _run() -> int:
    """Run the command line; return the exit status."""
    try:
        status = app(prog_name="freezingtime", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        return _complain(_usage_line(error), EXIT_BAD_INPUT)
    except FreezingTimeError as error:
        statuses = (status for kind, status in _STATUSES.items() if isinstance(error, kind))
        return _complain(str(error), next(statuses, EXIT_FAILED))
    except signals.Interrupted as interruption:
        return _complain(str(interruption), interruption.status)
    except SystemExit as ended:
        # Typer exits like this after a completion, and when the reader of our output has gone.
        return ended.code if isinstance(ended.code, int) else EXIT_FAILED
    except BrokenPipeError:
        # The reader of our output has gone; there is nowhere to report it.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return EXIT_FAILED
    except OSError as error:
        # A full disk, no more descriptors: the host failed us in a place that expected it to work.
        return _complain(f"the host failed: {error}", EXIT_FAILED)
    except Exception:
        raised = signals.raised()
        if raised is None:
            raise
        return _complain(str(raised), raised.status)
    return status if isinstance(status, int) else 0


def _usage_line(error: Any) -> str:
    """Typer's complaint in one line, and where to read on."""
    text = " ".join(error.format_message().split())
    suggestion = _SUGGESTION.search(text)
    if suggestion:
        names = " or ".join((suggestion["one"] or suggestion["some"]).split(", "))
        text = f"{text[: suggestion.start()]}; did you mean {names}?"
    command = error.ctx.command_path if error.ctx is not None else "freezingtime"
    text = f"{text[:1].lower()}{text[1:]}"
    return f"{text if suggestion else text.rstrip('.') + ';'} see '{command} --help'"


def _complain(text: str, status: int) -> int:
    with contextlib.suppress(FreezingTimeError):  # stderr takes no more: the status tells
        say(text)
    return status


class OneLine(logging.Formatter):
    """A line of the log as all that we print for people."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _show_own_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("freezingtime: %(message)s"))
    own = logging.getLogger("freezingtime")
    own.addHandler(handler)
    own.setLevel(logging.INFO)


def main() -> NoReturn:
    """Run the command line and end the process."""
    prepare_standard_streams()
    # What libraries log is not for our user; what matters is raised. Our own lines are.
    logging.getLogger().addHandler(logging.NullHandler())
    _show_own_log()
    signals.raise_on_signals()
    status = _run()
    signals.ignore_signals()
    if any(thread.name.startswith("medium") for thread in threading.enumerate()):
        # A worker is stuck in a medium that does not answer; do not wait for it.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
