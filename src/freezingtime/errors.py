"""The exception tree. Only the command line turns these into exit statuses.

::

    FreezingTimeError
    +-- InputError        what the user asked for cannot be done: exit status 2
    +-- RunError          something failed while running: exit status 1
        +-- GuestError       the guest died or never got ready: exit status 4
        +-- TimeLimitError   the job was not done in time: exit status 124
        +-- RefusalError     a device does not carry out what it was asked
"""

from __future__ import annotations


class FreezingTimeError(Exception):
    """Anything that this package reports to its user; the text is one line and names the cure."""


class InputError(FreezingTimeError):
    """A bad value: what was wrong, where, and what would be right."""


class RunError(FreezingTimeError):
    """A failure while running: what died and why."""

    stdout: bytes = b""
    """What the job had printed by then."""
    stderr: bytes = b""


class GuestError(RunError):
    """The guest ended before its job, or could not start it; the console says why."""


class TimeLimitError(RunError):
    """The job was not done within the guest or host time that it was given."""


class RefusalError(RunError):
    """A request that the device's own rules forbid, such as a write elsewhere in a zone."""
