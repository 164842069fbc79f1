"""`freezingtime doctor`: is everything there, and if not, what to install."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from freezingtime.experiment.doctor import Finding, State, examine

_SIGNS = {
    State.GOOD: "[green]ok[/]",
    State.MISSING: "[red]missing[/]",
    State.INFORMATION: "[dim]info[/]",
}


def doctor_command() -> int:
    """Check what a run needs, and say exactly what to install.

    Exit status 1 if something is missing.
    """
    findings = examine()
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(_SIGNS[finding.state], finding.what, finding.detail)
    console = Console(soft_wrap=True)
    console.print(table)
    for finding in findings:
        if finding.state is State.MISSING:
            console.print(f"{finding.what}: {finding.cure}")
    return 1 if _anything_missing(findings) else 0


def _anything_missing(findings: list[Finding]) -> bool:
    return any(finding.state is State.MISSING for finding in findings)
