# SPDX-License-Identifier: GPL-2.0-or-later
"""Result of a run, and the content of its ``run.json``."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freezingtime._version import __version__
from freezingtime.application.clock_tie import ClockTie, tie_document
from freezingtime.application.read import Said
from freezingtime.clock.kind import ClockKind
from freezingtime.disk.spec import DiskSpec
from freezingtime.emulator.loop import Totals
from freezingtime.images.guest_image import GuestImage
from freezingtime.percentile import percentile_rank
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.disk_tally import OperationFigures
from freezingtime.trace.run_directory import DOCUMENT_FORMAT
from freezingtime.vm.job import JobResult


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a run; times in guest ns unless they say host."""

    plan: RunPlan
    job: JobResult
    wall_host_s: float
    image: GuestImage
    qemu_version: str
    qemu_sha256: str
    """Of QEMU's binary."""
    ready_ns: int
    collected: Sequence[str] = ()
    """The files that came back, relative to ``collected/`` in the run directory."""
    not_collected: Sequence[str] = ()
    """Matches that were not collected, such as symbolic links."""
    statistics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Statistics of each disk's device, such as its write amplification."""
    said: Said = field(default_factory=Said)
    """The application's own figures."""
    agent: str = ""
    """The digest of the agent's sources."""
    figures: Mapping[str, Sequence[OperationFigures]] = field(default_factory=dict)
    """Figures of each disk's requests, by operation."""
    faults: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By disk that was to fail: each rule, and how many requests it has hit."""
    realtime: ClockTie | str | None = None
    """The guest's clock beside guest time, or why that is unknown; None: nothing asked for it."""

    tuned: Sequence[str] = ()
    """Changes that came while it ran, as ``--at`` has them; the plan's disks have them, too."""

    @property
    def totals(self) -> Totals:
        """Counters of the emulator."""
        return self.job.totals

    @property
    def clock(self) -> ClockKind:
        """The clock that the guest had."""
        return ClockKind.EXACT if self.totals.kvm is None else ClockKind.KVM

    def late_percentile_ns(self, per_100k: int) -> int:
        """Return how late all but so many requests were at most, under KVM; 0: there is none."""
        lateness = self.totals.lateness
        rank = percentile_rank(lateness.total(), per_100k)
        for late_ns in sorted(lateness):
            rank -= lateness[late_ns]
            if rank <= 0:
                return late_ns
        return 0

    @property
    def on_time(self) -> bool:
        return self.totals.late_count == 0

    @property
    def valid(self) -> bool:
        """Every request was on time, nothing else of the host's reached the guest, and its
        kernel had no complaint."""
        return self.reason_invalid is None

    @property
    def reason_invalid(self) -> str | None:
        """Say in a few words what the first reason not to trust its figures is; None: valid."""
        totals = self.totals
        if totals.late_count:
            return f"{totals.late_count} of {totals.request_count} requests were not on time"
        if totals.disturbed_ns is not None:
            return "an interrupt of the host's making reached the guest"
        return f"kernel message: {self.job.complaints[0]}" if self.job.complaints else None

    def as_dict(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        plan, job, totals = self.plan, self.job, self.totals
        return {
            "format": DOCUMENT_FORMAT,
            "versions": {
                "freezingtime": __version__,
                "qemu": self.qemu_version,
                "qemu_sha256": self.qemu_sha256,
                "agent": self.agent,
                "guest": self.image.name,
                "image": self.image.image_id,
                "kernel": self.image.manifest.kernel_release,
                "packages": {p.name: p.version for p in self.image.manifest.packages},
                "python": platform.python_version(),
            },
            "plan": {
                "guest": plan.guest,
                "locked": plan.lock and plan.lock.digest,
                "system": plan.system and plan.system.as_dict(),
                "root_device": plan.root_device and plan.root_device.text,
                "disks": [spec.text for spec in plan.disks],
                "devices": [spec.device.settings() for spec in plan.disks],
                "controllers": [_controller(spec) for spec in plan.disks],
                "job_directory": plan.job_directory and str(plan.job_directory),
                "environment": [f"{name}={value}" for name, value in plan.environment.items()],
                "collect": list(plan.collect),
                "collect_limit_bytes": plan.collect_limit_bytes,
                "limit_ns": plan.limit_ns,
                "script": plan.script.decode(errors="surrogateescape"),
                "clock": self.clock,
                "max_leak_ns": plan.max_leak_ns if self.clock is ClockKind.KVM else None,
                "cpu_rate_hz": plan.rate_hz if self.clock is ClockKind.EXACT else None,
                "memory_bytes": plan.memory_bytes,
                "cpus": plan.cpu_count,
                "cpu_model": plan.cpu_model,
                "start_delay_ns": plan.start_delay_ns or None,
                "seed": plan.seed,
                "fresh_boot": plan.fresh_boot,
                "from": plan.start_from,
                "save": plan.save_as,
            },
            "job": {
                "exit_status": job.exit_status,
                "start_ns": job.start_ns,
                "end_ns": job.end_ns,
                "guest_ns": job.end_ns - job.start_ns,
                "collected": list(self.collected),
                "not_collected": list(self.not_collected),
            },
            "audit": {
                "valid": self.valid,
                "requests": totals.request_count,
                "late": totals.late_count,
                "worst_late_ns": totals.worst_late_ns,
                "disturbed_ns": totals.disturbed_ns,
                "kernel_complaints": list(job.complaints),
                "kvm": totals.kvm
                and {**totals.kvm._asdict(), "p99_late_ns": self.late_percentile_ns(99_000)},
            },
            "tuned": list(self.tuned),
            "faults": {
                disk: [{"rule": rule, "hits": count} for rule, count in rules]
                for disk, rules in self.faults.items()
            },
            "disk_errors": list(job.disk_errors),
            "totals": {
                "warped_ns": totals.warped_ns,
                "frozen_host_ns": totals.frozen_host_ns,
                "wall_host_s": round(self.wall_host_s, 6),
                "job_host_s": round(job.host_s, 6),
            },
            **tie_document(self.realtime),
            "metrics": [figure.as_dict() for figure in self.said.figures],
            "statistics": {disk: dict(values) for disk, values in self.statistics.items()},
        }


def _controller(spec: DiskSpec) -> dict[str, object]:
    return {
        "frontend": spec.frontend,
        "write_cache": spec.write_cache,
        "queue_depth": spec.queues.depth,
        "queues": spec.queues.count,
        "traits": msgspec.structs.asdict(spec.traits),
    }
