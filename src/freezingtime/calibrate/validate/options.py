# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a validation: the one list of them, and how a plan is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from freezingtime.calibrate.fit.models import EMPIRICAL
from freezingtime.calibrate.fit.options import checked_model
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.calibrate.measure.options import MeasureOptions
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, about
from freezingtime.option import Option
from freezingtime.runs.options import CLOCK, MAX_LEAK, RunOptions
from freezingtime.units import Limits

if TYPE_CHECKING:
    from freezingtime.calibrate.validate.validate import ValidatePlan
    from freezingtime.disk.spec import DiskSpec

#: The device that is fitted to the first half.
FIT = "fit"
#: Default measurement: the paper's requests, and many of them.
MEASURING = MeasureOptions(sizes="4KiB", depths="1", rounds=16)

# More lines than that in one figure are indistinguishable.
_GUESTS_MAX = 5
_REQUESTS_LIMITS = Limits(100, 10_000_000, "from 100 to 10000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateOptions(LogOptions):
    """Options of a validation, as a user writes them; Python callers may give lists."""

    cpus: Annotated[
        str | Sequence[int], Option("NUMBER,...", "Numbers of CPUs, one guest for each.")
    ] = "1,4"
    requests: Annotated[
        int | None,
        Option(
            "NUMBER",
            "Requests of each kind in each guest. Default: as many as are held out, at most "
            "100,000.",
        ),
    ] = None
    delay: Annotated[
        str | None,
        Option(
            "TIME", "Delay of the medium, a time or `MIN..MAX`. Default: twice the measured mean."
        ),
    ] = None
    model: Annotated[str, Option("MODEL", "The model of `fit`.")] = EMPIRICAL


def make_validate_plan(
    device: Disk | str = FIT,
    options: ValidateOptions = ValidateOptions(),
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> ValidatePlan:
    """Make the plan of a validation; ``run`` is what else its guests are run with.

    Raises:
        InputError: an option has a value that it cannot have, or there is no such device.
    """
    from freezingtime.calibrate.validate.validate import ValidatePlan

    requests = options.requests
    if requests is not None:
        _REQUESTS_LIMITS.check("--requests", requests, requests)
    _check_delay(options.delay)
    cpus = _cpu_counts(options.cpus)
    return ValidatePlan(
        None if device == FIT else _checked_device(device),
        checked_model(options.model),
        cpus,
        requests,
        options.delay,
        _with_one_clock(run, cpus),
    )


def _with_one_clock(run: RunOptions, cpus: Sequence[int]) -> RunOptions:
    """Leave the choice of a clock to the host only where all guests can have either.

    Raises:
        InputError: a guest cannot have the clock that is asked for.
    """
    from freezingtime.clock.kind import ClockKind
    from freezingtime.runs.plan import choose_clock

    if any(choose_clock(replace(run, cpus=count)) is ClockKind.EXACT for count in cpus):
        return replace(run, clock=CLOCK, max_leak=MAX_LEAK)
    return run


def _checked_device(device: Disk | str) -> DiskSpec:
    from freezingtime.disk.spec import check_disk

    spec = check_disk(device, place="")
    if spec.delay or spec.name or spec.mount or spec.size_bytes or spec.file:
        raise InputError(
            f"{spec.text}: name a device without disk options; use --delay for the medium"
        )
    return spec


def _check_delay(text: str | None) -> None:
    """A disk's ``delay=``, which may be a range."""
    from freezingtime.disk.spec import read_delay

    if text is not None:
        with about(f"--delay {text}: "):
            read_delay(text)


def _cpu_counts(given: str | Sequence[int]) -> list[int]:
    from freezingtime.vm.qemu.command import CPUS_MAX

    text = given if isinstance(given, str) else ",".join(map(str, given))
    counts = []
    for part in text.split(","):
        if not part.isdecimal() or not 1 <= int(part[:4]) <= CPUS_MAX:
            raise InputError(f"--cpus {text}: must be numbers from 1 to {CPUS_MAX}, such as 1,4")
        counts.append(int(part))
    if len(set(counts)) > _GUESTS_MAX:
        raise InputError(f"--cpus {text}: must be at most {_GUESTS_MAX} different numbers")
    return sorted(set(counts))
