# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a plan: what it varies, what it runs, and the options that all points share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from freezingtime.device.parameters import Table
from freezingtime.device.toml.changed import value_text
from freezingtime.device.toml.toml_file import read_toml
from freezingtime.errors import InputError, about, did_you_mean
from freezingtime.explore.sweep.names import NOT_VARIED
from freezingtime.explore.sweep.plan.plan_file import PlanFile
from freezingtime.explore.sweep.values import VariedKey, parse_values
from freezingtime.option import DeclaredOption, flag_of, list_options
from freezingtime.runs.options import RunOptions
from freezingtime.simulate.options import ReplayOptions

_SEED = "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A plan that has been read."""

    file: PlanFile
    varied: Sequence[VariedKey]
    runs: Mapping[str, Any]
    """Options of a run, by their fields' names."""
    replays: Mapping[str, Any]
    """Options of a replay."""


def read_plan(path: Path) -> SweepPlan:
    """Read a plan.

    Raises:
        InputError: the file cannot be read, or a key or value is not right; the text names them.
    """
    return plan_of(read_toml(path, "plan of a sweep"), str(path))


def plan_of(content: Mapping[str, Any], name: str) -> SweepPlan:
    """Read a plan that is no file; ``name`` is what messages call it.

    Raises:
        InputError: a key or value is not right; the text names them.
    """
    table = Table(content, name)
    file = table.read(PlanFile)
    what = [name for name in ("workload", "trace", "command", "script", "job") if name in content]
    if len(what) > 1:
        raise table.error(what[1], f"goes not with {what[0]}; keep one")
    varied = list(_varied(file.varied)) if file.varied is not None else []
    if file.seeds is not None:
        if any(each.name == _SEED for each in varied):
            raise table.error("seeds", "set has seed, too; keep one")
        varied.append(VariedKey(_SEED, [str(seed) for seed in range(file.seeds)]))
    base = {} if file.base is None else dict(_options(file.base))
    return SweepPlan(
        file=file,
        varied=varied,
        runs={name: value for name, value in base.items() if name in list_options(RunOptions)},
        replays={
            name: value for name, value in base.items() if name in list_options(ReplayOptions)
        },
    )


def known_options() -> dict[str, tuple[str, DeclaredOption]]:
    """The options that a plan may have, by their names on the command line: field and option."""
    return {
        flag_of(name, option.declared).removeprefix("--"): (name, option)
        for options in (RunOptions, ReplayOptions)
        for name, option in list_options(options).items()
        if name not in NOT_VARIED
    }


def _varied(table: Table) -> Iterator[VariedKey]:
    for name, values in _flat(table.content):
        with about(f"{table.file}: set.{name} = {_shown(values)}: "):
            if isinstance(values, str):
                yield parse_values(name, values)
                continue
            if not isinstance(values, list) or not values or not all(map(_is_scalar, values)):
                raise InputError(
                    'must be a list of values, or a text such as "range(1,33,8)" or '
                    '"interval(0.07,0.28)"'
                )
            texts = [each if isinstance(each, str) else value_text(each) for each in values]
            yield VariedKey(name, texts)


def _flat(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots, whether they are quoted or tables in tables."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}\u2026"


def _options(table: Table) -> Iterator[tuple[str, Any]]:
    known = known_options()
    for flag, value in table.content.items():
        if flag not in known:
            raise InputError(
                f"{table.file}: base.{flag}: is no option of run or replay; "
                f"{did_you_mean(flag, known)}available: {', '.join(known)}"
            )
        name, option = known[flag]
        yield name, _option_value(table, flag, option, value)


def _option_value(table: Table, flag: str, option: DeclaredOption, value: Any) -> Any:
    kinds = get_args(option.kind) or (option.kind,)
    if is_list(option):
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise table.error(flag, "must be a text or a list of texts")
        return values
    if bool in kinds:
        if not isinstance(value, bool):
            raise table.error(flag, "must be true or false")
        return value
    if str not in kinds and int in kinds:
        least, most = option.declared.minimum, option.declared.maximum
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or (least or 0) > value or (most is not None and value > most):
            to = f"from {least or 0} to {most}" if most is not None else f", {least or 0} or more"
            raise table.error(flag, f"must be a whole number {to}".replace(" ,", ","))
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise table.error(flag, "must be a text")
    text = str(value)
    return Path(text) if Path in kinds else text


def is_list(option: DeclaredOption) -> bool:
    """Whether an option may be given several times."""
    return isinstance(option.default, tuple)
