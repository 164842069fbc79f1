# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment B: an SSD, emulated over a medium that behaves like the paper's hard disk.

4 KiB synchronous reads and writes, with 1 and 4 CPUs; each request of the medium takes 2.5 to
10 ms. The target of each request is what the device model says of it without a guest, a clock
or a medium. ``python -m experiments.paper.emulated_ssd``; with ``--clock kvm`` on a host whose KVM
will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments.paper import published
from experiments.paper.errors import Errors, errors_of, request_errors_percent
from experiments.paper.figures import draw_cdf, panels
from experiments.paper.guest import OPERATIONS, Measured, measure
from experiments.paper.outcome import Outcome, Settings, Table, main, show

from freezingtime.clock.kind import ClockKind

SSD = "ssd.toml"
DEVICES = {SSD: str(Path(__file__).with_name(SSD)), "870 EVO": "samsung-870-evo-1tb"}
SLOW_MEDIUM = f",delay={published.MEDIUM_DELAY}"
#: The largest mean error, by the number of CPUs, in percent.
LIMIT_PERCENT = {1: 0.5, 4: 1.0}

_COUNT = 400
_HEAD = (
    *("device", "CPUs", "operation", "target mean us", "error of", "seen mean us"),
    *("mean error %", "mean size of error %", "95 % of requests", "paper, mean", "paper, 95 %"),
)


def experiment(settings: Settings) -> Sequence[Outcome]:
    """Two SSDs, and a device that takes no time to know the guest's software time by."""
    outcome = Outcome("B. An SSD emulated over a medium of 2.5 to 10 ms for each request")
    count = _COUNT * settings.scale
    run = partial(measure, disk_options=SLOW_MEDIUM, count=count, clock=settings.clock)
    rows: list[Sequence[str]] = [_HEAD]
    found: dict[tuple[str, int], Measured] = {}
    for cpus in LIMIT_PERCENT:
        zero = run("constant:0", cpus=cpus)
        software_ns = {name: float(zero.application[name].mean()) for name in OPERATIONS}
        for name, device in DEVICES.items():
            measured = run(device, cpus=cpus)
            found[name, cpus] = measured
            for operation in OPERATIONS:
                errors = compare(measured, operation, software_ns)
                rows += _rows(name, cpus, operation, measured, errors)
                _require(outcome, settings.clock, name, cpus, operation, errors)
    outcome.tables.append(Table(f"{count} synchronous 4 KiB requests each", rows))
    outcome.notes += [
        "Error of D2C: the time from the doorbell to the delivered interrupt, from the record. "
        "Error of application: what fio in the guest measured, less its mean on a device that "
        "takes no time (the guest's software). The target is each request's own.",
        "The application's error is the guest's: it sleeps and is woken only if the completion "
        "does not come at once (docs/explanation/software-time.md). In percent it is larger the "
        f"faster the device: limits on it are held on {SSD}, whose times are those of an SSD "
        "like the paper's.",
    ]
    if settings.clock is ClockKind.KVM:
        outcome.notes.append(
            "Under KVM the application's error has the time as well that the host takes to enter "
            "and leave the guest where that sleeps and is woken: no limit is held on it. Not "
            f"delivered within --max-leak: {sum(each.late_count for each in found.values())}."
        )
    if settings.draws:
        _draw(outcome, settings, found)
    return [show(outcome)]


def compare(
    measured: Measured, operation: str, software_ns: Mapping[str, float]
) -> Mapping[str, Errors]:
    """The errors by where the latency is taken."""
    target_ns = measured.target[operation]
    application_ns = measured.application[operation] - software_ns[operation]
    return {
        "D2C": errors_of(measured.device[operation], target_ns),
        "application": errors_of(application_ns, target_ns),
    }


def _rows(
    name: str, cpus: int, operation: str, measured: Measured, errors: Mapping[str, Errors]
) -> list[list[str]]:
    seen_us = {
        "D2C": measured.device[operation].mean() / 1000,
        "application": measured.application[operation].mean() / 1000,
    }
    low, high = published.BAND_PERCENT[operation]
    return [
        [
            *(name, str(cpus), operation, f"{measured.target[operation].mean() / 1000:.3f}"),
            *(where, f"{seen_us[where]:.3f}"),
            *(f"{error.of_mean:+.3f}", f"{error.mean_absolute:.3f}"),
            f"{error.band[0]:+.2f} to {error.band[1]:+.2f} %",
            f"{published.MEAN_ERROR_PERCENT[operation]} %",
            f"{low:+.0f} to {high:+.0f} %",
        ]
        for where, error in errors.items()
    ]


def _require(
    outcome: Outcome,
    clock: ClockKind,
    name: str,
    cpus: int,
    operation: str,
    errors: Mapping[str, Errors],
) -> None:
    limit = LIMIT_PERCENT[cpus]
    for where, error in errors.items():
        if where == "D2C" or (name == SSD and clock is ClockKind.EXACT):
            outcome.require(
                f"{name}, {cpus} CPU{'s' if cpus > 1 else ''}, {operation}: mean error of {where} "
                f"below {limit} %",
                f"{error.worst_mean:.3f} %",
                error.worst_mean < limit,
            )


def _draw(outcome: Outcome, settings: Settings, found: Mapping[tuple[str, int], Measured]) -> None:
    measured = found[SSD, 1]
    with panels(outcome, settings.directory / "emulated_ssd", 2) as (latencies, errors):
        for number, operation in enumerate(OPERATIONS):
            target_ns, seen_ns = measured.target[operation], measured.application[operation]
            draw_cdf(latencies, target_ns / 1000, f"{operation}, target", number, dashed=True)
            draw_cdf(latencies, seen_ns / 1000, f"{operation}, seen in the guest", number)
            for where, latency_ns in (
                ("D2C", measured.device[operation]),
                ("application", seen_ns),
            ):
                percent = request_errors_percent(latency_ns, target_ns)
                dashed = where == "application"
                draw_cdf(errors, percent, f"{operation}, {where}", number, dashed=dashed)
            for edge in published.BAND_PERCENT[operation]:
                errors.axvline(edge, color="#888888", linestyle="--" if number else ":")
        latencies.set_xlabel("latency, us")
        errors.set_xlabel("difference of each request from its target, %; grey: the paper's 95 %")
        latencies.legend(loc="lower right")
        errors.legend(loc="center right")


if __name__ == "__main__":
    main("emulated_ssd", experiment, [ClockKind.EXACT, ClockKind.KVM])
