# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment comes to: tables, figures, and conditions that hold or do not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from freezingtime.cli.output.columns import print_columns
from freezingtime.clock.kind import ClockKind
from freezingtime.errors import FreezingTimeError, InputError

_SCALE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """How large the experiments are, what counts guest time, and where their figures go."""

    scale: int
    directory: Path
    clock: ClockKind = ClockKind.EXACT
    draws: bool = True


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that must hold, with what was found."""

    text: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first row is its head."""

    title: str
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Outcome:
    """Of one experiment."""

    title: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is to be known of the tables, a sentence or two each."""
    figures: list[Path] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)

    def require(self, text: str, found: str, holds: bool) -> None:
        """Note a condition."""
        self.conditions.append(Condition(text, found, holds))

    def print(self) -> None:
        """For a terminal."""
        print(f"\n== {self.title}")
        for table in self.tables:
            print(f"\n{table.title}")
            print_columns(table.rows)
        for note in self.notes:
            print(f"\n{note}")
        print()
        for condition in self.conditions:
            print(_verdict(condition))
        for figure in self.figures:
            print(f"figure: {figure}")

    def markdown(self) -> str:
        """For the summary, which lies beside the figures."""
        lines = [f"## {self.title}", ""]
        for table in self.tables:
            head, *rows = table.rows
            lines += [f"{table.title}", "", _row(head), _row(["---"] * len(head))]
            lines += [*map(_row, rows), ""]
        for note in self.notes:
            lines += [note, ""]
        lines += [f"- {_verdict(condition)}" for condition in self.conditions]
        lines += ["", *(f"![{figure.stem}]({figure.name})" for figure in self.figures), ""]
        return "\n".join(lines)


def conclude(outcomes: Sequence[Outcome]) -> int:
    """Print how many conditions hold; the exit status: 1 if one does not."""
    conditions = [condition for outcome in outcomes for condition in outcome.conditions]
    failed = [condition for condition in conditions if not condition.holds]
    print(f"\n{len(conditions) - len(failed)} of {len(conditions)} conditions hold")
    for condition in failed:
        print(_verdict(condition))
    return 1 if failed else 0


def main(
    name: str,
    experiment: Callable[[Settings], Sequence[Outcome]],
    clocks: Sequence[ClockKind] = (ClockKind.EXACT,),
) -> None:
    """The command of an experiment: print it, and end with its exit status."""
    settings = parse_settings(name, sys.argv[1:], clocks)
    try:
        try:
            settings.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--out {settings.directory}: {error.strerror}; name another directory"
            ) from error
        outcomes = experiment(settings)
    except FreezingTimeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(conclude(outcomes))


def show(outcome: Outcome) -> Outcome:
    """Print it as soon as it is there."""
    outcome.print()
    sys.stdout.flush()
    return outcome


def parse_settings(
    name: str, arguments: Sequence[str], clocks: Sequence[ClockKind] = (ClockKind.EXACT,)
) -> Settings:
    """The settings of a command line; ends with status 2 if something on it cannot be.

    ``clocks``: those that the experiment can have.
    """
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    parser.add_argument(
        "--scale", type=_scale, default=1, help="how many times the requests and the repetitions"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/paper"), help="where the figures go"
    )
    parser.add_argument(
        "--clock",
        choices=[str(clock) for clock in clocks],
        default=str(ClockKind.EXACT),
        help="what counts guest time",
    )
    parser.add_argument("--no-figures", action="store_true", help="only the tables")
    found = parser.parse_args(arguments)
    return Settings(found.scale, found.out, ClockKind(found.clock), not found.no_figures)


def _scale(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _SCALE_MAX:
        raise argparse.ArgumentTypeError(f"{text}: write a whole number from 1 to {_SCALE_MAX}")
    return int(text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(condition: Condition) -> str:
    return f"{'ok' if condition.holds else 'FAILED'}: {condition.text}: {condition.found}"
