# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a sweep as a TOML file: the words of the command line, in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from msgspec import field

from freezingtime.device.parameters import Table
from freezingtime.device.schema import Notation, Parameters, key
from freezingtime.errors import InputError

#: What stands in a plan's first line, for editors.
PLAN_SCHEMA_FILE = "sweep.schema.json"
_SEEDS_MAX = 100_000


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise InputError('must be a list of names such as ["all.iops", "all.p99"]')
    return tuple(value)


def _groups(value: object) -> tuple[tuple[str, ...], ...]:
    problem = 'must be a list of lists of keys such as [["cpus", "memory"]]'
    if not isinstance(value, list):
        raise InputError(problem)
    for each in value:
        if not isinstance(each, list) or not all(isinstance(name, str) for name in each):
            raise InputError(problem)
    return tuple(map(tuple, value))


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise InputError('must be a line such as "sync; dd ..." or a list of words')


def _notation(kind: str, parse: Callable[[Any], Any], schema: Mapping[str, Any]) -> Any:
    return Notation(kind=kind, problem=f"must be {kind}", parse=parse, schema=schema).meta()


_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT, "minItems": 1}
NamesValue: TypeAlias = Annotated[tuple[str, ...], _notation("list of names", _names, _TEXTS)]
GroupsValue: TypeAlias = Annotated[
    tuple[tuple[str, ...], ...],
    _notation("list of lists of keys", _groups, {"type": "array", "items": _TEXTS}),
]
WordsValue: TypeAlias = Annotated[
    tuple[str, ...], _notation("line or list of words", _words, {"anyOf": [_TEXT, _TEXTS]})
]


class PlanFile(Parameters, frozen=True, kw_only=True):
    """A sweep, as its plan has it."""

    workload: Annotated[str, key("replay a workload, as `--workload` takes it")] | None = None
    trace: Annotated[str, key("replay a trace: its file")] | None = None
    command: (
        Annotated[WordsValue, key("run a job in a guest: a command, as behind `--`")] | None
    ) = None
    script: Annotated[str, key("run a job in a guest: a script, as `--script`")] | None = None
    job: Annotated[str, key("run a job in a guest: a directory, as `--job`")] | None = None
    prepare: (
        Annotated[str, key("run this job once before: a script or directory, as `--prepare`")]
        | None
    ) = None
    varied: Annotated[Table, key("what is varied: values of each key")] | None = field(
        default=None, name="set"
    )
    zipped: Annotated[GroupsValue, key("keys that take their values side by side")] = field(
        default=(), name="zip"
    )
    sample: Annotated[str, key("how intervals are drawn from: `sobol:64` or `lhs:64`")] | None = (
        None
    )
    seeds: (
        Annotated[int, key("run every point with so many seeds", least=1, most=_SEEDS_MAX)] | None
    ) = None
    metrics: Annotated[NamesValue, key("figures of the table and the report")] = ()
    base: Annotated[Table, key("options of `run` and `replay` that all points share")] | None = None
