# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: a machine, its disks, one job, and the directory of results that it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from pathlib import Path

from freezingtime.application.clock_tie import ClockTie
from freezingtime.application.operation_log import has_operations
from freezingtime.application.read import Said, read_figures
from freezingtime.errors import RunError
from freezingtime.runs.disks import check_displacement
from freezingtime.runs.job_output import JobOutput
from freezingtime.runs.measurement import Measurement
from freezingtime.runs.output_directory import write_results
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.prepare import Prepared, prepare
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.result import RunResult
from freezingtime.runs.saving import save
from freezingtime.runs.tuning.server import TuneServer
from freezingtime.runs.tuning.tuned_disks import TunedDisks, tunable_plan
from freezingtime.trace.run_directory import COLLECTED_DIRECTORY, STDOUT_NAME
from freezingtime.vm.collected_files import Collected, unpack_collected
from freezingtime.vm.job import JobResult
from freezingtime.vm.machine import Machine
from freezingtime.vm.realtime.marks import mark_job
from freezingtime.vm.service import Companion


def run(
    plan: RunPlan,
    observer: RunObserver,
    terminal: socket.socket | None = None,
    *,
    is_tunable: bool = False,
) -> RunResult:
    """Run a plan to its end.

    With ``is_tunable``, its directory has a socket over which parameters of its devices change
    while it runs; the result is then that of a plan with these changes.

    With ``terminal``, a user types on the guest's serial console: the result then
    depends on the input and its timing.

    Raises:
        InputError: the plan cannot be run.
        RunError: something failed on the way.
    """
    start_s = time.monotonic()
    is_tunable = is_tunable and plan.out is not None
    if is_tunable:
        plan = tunable_plan(plan)
    with contextlib.ExitStack() as ownership:
        with contextlib.ExitStack() as cleanup:
            prepared = prepare(plan, observer.preparing, ownership, cleanup)
            is_kvm = prepared.config.kvm is not None
            measurement = Measurement(
                plan, prepared.disks, cleanup, root=prepared.root, is_kvm=is_kvm
            )
            tuning = TunedDisks(prepared.disks)
            server = _tune_server(plan, tuning, measurement, cleanup) if is_tunable else None
            machine = _start_machine(plan, prepared, measurement, terminal, cleanup, server)
            version = machine.qemu_version()
            ready_ns = machine.get_ready(lambda: observer.preparing("boot the guest", 0, 1))
            ended = _run_job(plan, prepared, machine, measurement, observer)
            collected = _unpack_collected(plan, machine)
            said = _read_figures(plan, machine, collected)
            realtime = _tie_clock(plan, prepared, machine, measurement, ended, collected)
            _save(plan, prepared, machine, ended)
            for disk in prepared.disks:
                check_displacement(disk.plan.medium, written=disk.spec.writable)
        # The machine is closed: nothing drives the devices any more.
        measurement.finish(ended.totals.now_ns)
        identity = prepared.config.identity()
        result = RunResult(
            dataclasses.replace(plan, disks=tuning.specs) if tuning.texts else plan,
            ended,
            time.monotonic() - start_s,
            prepared.image,
            version,
            identity.qemu,
            ready_ns,
            collected.names,
            collected.left_out,
            measurement.statistics.totals(),
            said,
            identity.agent,
            {tally.name: tally.figures() for tally in measurement.tallies},
            measurement.hit_counts,
            realtime,
            tuning.texts,
        )
        if plan.out is not None:
            write_results(plan.out, result, measurement.statistics)
        return result


def _tune_server(
    plan: RunPlan, tuning: TunedDisks, measurement: Measurement, cleanup: contextlib.ExitStack
) -> TuneServer | None:
    if plan.out is None:
        return None
    measurement.on_started = tuning.start
    return cleanup.enter_context(
        TuneServer(plan.out, tuning, lambda: measurement.note_changed(tuning.specs))
    )


def _start_machine(
    plan: RunPlan,
    prepared: Prepared,
    measurement: Measurement,
    terminal: socket.socket | None,
    cleanup: contextlib.ExitStack,
    companion: Companion | None,
) -> Machine:
    disks = [disk.plan for disk in prepared.disks]
    recording = None
    if plan.logs_writes and plan.out is not None:
        # It needs numpy, which a run without a log does not wait for.
        from freezingtime.vm.write_recording import WriteRecording

        recording = WriteRecording(plan.out, disks, cleanup)
        disks = recording.disks
    machine = cleanup.enter_context(
        Machine(
            prepared.config,
            disks,
            root=None if prepared.root is None else prepared.root.plan,
            snapshot=prepared.snapshot,
            terminal=terminal,
            on_completed=measurement.note,
            on_started=measurement.start,
            companion=companion,
        )
    )
    if recording is not None:
        recording.stdout = machine.stdout
    return machine


def _run_job(
    plan: RunPlan,
    prepared: Prepared,
    machine: Machine,
    measurement: Measurement,
    observer: RunObserver,
) -> JobResult:
    """Run the job, passing on what it prints and how far it is."""
    stdout_path = None if plan.out is None else plan.out / STDOUT_NAME
    output = JobOutput(machine.stdout, machine.stderr, observer.output, stdout_path)

    def tick() -> None:
        output.pass_on()
        observer.running(machine.totals, measurement.meter.disks)

    with output:
        ended = machine.run_job(
            prepared.job, limit_ns=plan.limit_ns, host_limit_s=plan.host_limit_s, on_tick=tick
        )
    observer.running(machine.totals, measurement.meter.disks)
    return ended


def _unpack_collected(plan: RunPlan, machine: Machine) -> Collected:
    if plan.out is None or not plan.collect:
        return Collected()
    return unpack_collected(
        machine.collected, plan.out / COLLECTED_DIRECTORY, limit_bytes=plan.collect_limit_bytes
    )


def _read_figures(plan: RunPlan, machine: Machine, collected: Collected) -> Said:
    directory = (plan.out or Path()) / COLLECTED_DIRECTORY  # nothing is collected without --out
    with machine.stdout.copy_handle() as stdout, machine.stderr.copy_handle() as stderr:
        return read_figures(plan.metrics, (stdout, stderr), directory, collected.names)


def _tie_clock(
    plan: RunPlan,
    prepared: Prepared,
    machine: Machine,
    measurement: Measurement,
    ended: JobResult,
    collected: Collected,
) -> ClockTie | str | None:
    """Tie the guest's clock to guest time if a log was collected that says when operations ended.

    Returns the reason if it cannot be; None if no such log was collected.
    """
    directory = (plan.out or Path()) / COLLECTED_DIRECTORY
    try:
        if not has_operations(directory, collected.names):
            return None
    except OSError as error:
        return f"a collected log cannot be read: {error}"
    if prepared.config.kvm is not None:
        return "under KVM the guest's clock has a rate of its own; it is tied under the exact clock"
    if plan.save_as is not None:
        return "the machine was saved as the job left it, without reading its clock"
    # The machine goes on a little: the devices' figures are those of before.
    measurement.finish(ended.totals.now_ns)
    try:
        return machine.tie_clock(mark_job(prepared.job, in_container=prepared.image.is_container))
    except (RunError, ValueError) as error:
        # The run has ended, and all of its results are there.
        return str(error)


def _save(plan: RunPlan, prepared: Prepared, machine: Machine, ended: JobResult) -> None:
    """Save the machine if requested and its job succeeded."""
    if plan.save_as is not None and not ended.exit_status:
        disks, root = prepared.disks, prepared.root
        save(plan.save_as, machine, prepared.config, ended.stop_ns, disks, root)
