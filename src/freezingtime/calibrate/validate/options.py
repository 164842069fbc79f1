# SPDX-License-Identifier: GPL-2.0-or-later
"""Parser of a validation's options, from text: the only way to make a plan."""

from __future__ import annotations

from freezingtime.calibrate.fit.fit import EMPIRICAL, MODELS
from freezingtime.calibrate.validate.validate import FIT, ValidatePlan
from freezingtime.disk.spec import MemorySpec, parse_disk
from freezingtime.errors import InputError
from freezingtime.runs.options import RunOptions
from freezingtime.vm.qemu.command import CPUS_MAX

CPUS = "1,4"
#: What is measured where nobody says otherwise: the paper's requests, and many of them.
SIZES, DEPTHS, ROUNDS = "4KiB", "1", 16

# More lines than that in one figure cannot be told apart.
_GUESTS_MAX = 5
_REQUESTS_MIN, _REQUESTS_MAX = 100, 10_000_000


def make_validate_plan(
    device: str = FIT,
    *,
    model: str = EMPIRICAL,
    cpus: str = CPUS,
    requests: int | None = None,
    delay: str | None = None,
    run: RunOptions | None = None,
) -> ValidatePlan:
    """Make the plan of a validation; ``run`` is what else its guests are run with.

    Raises:
        InputError: an option has a value that it cannot have, or there is no such device.
    """
    if model not in MODELS:
        raise InputError(f"--model {model}: must be one of: {', '.join(MODELS)}")
    if requests is not None and not _REQUESTS_MIN <= requests <= _REQUESTS_MAX:
        raise InputError(f"--requests {requests}: must be from {_REQUESTS_MIN} to {_REQUESTS_MAX}")
    if device != FIT:
        _check_device(device)
    return ValidatePlan(
        device,
        model,
        _cpu_counts(cpus),
        requests,
        _delay(delay),
        run or RunOptions(),
    )


def _check_device(text: str) -> None:
    try:
        spec = parse_disk(text)
    except InputError as error:
        raise InputError(str(error).removeprefix("--disk: ")) from error
    has_options = spec.delay or spec.name or spec.mount or spec.size_bytes
    if has_options or not isinstance(spec.medium, MemorySpec):
        raise InputError(f"{text}: name a device without a disk's options; there is --delay")


def _delay(text: str | None) -> str | None:
    """A disk's ``delay=``, which may be a range."""
    try:
        if text is not None:
            parse_disk(f"constant:0,delay={text}")
    except InputError as error:
        raise InputError(f"--delay {str(error).removeprefix('--disk: delay=')}") from error
    return text


def _cpu_counts(text: str) -> list[int]:
    counts = []
    for part in text.split(","):
        if not part.isdecimal() or not 1 <= int(part[:4]) <= CPUS_MAX:
            raise InputError(f"--cpus {text}: must be numbers from 1 to {CPUS_MAX}, such as 1,4")
        counts.append(int(part))
    if len(set(counts)) > _GUESTS_MAX:
        raise InputError(f"--cpus {text}: must be at most {_GUESTS_MAX} different numbers")
    return sorted(set(counts))
