# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of a device's parameters while it runs. One table ``[[at]]`` each.

::

    [[at]]
    time = "5s"                      # from the start of the job on
    parameters.read.fixed = "2ms"    # the model's own keys, as in the table of parameters

As text, in ``--at`` and the key ``at`` of ``--disk``: ``5s read.fixed=2ms``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from msgspec import field

from freezingtime.device.compose.members import Composition
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, TimeNs, key, walk
from freezingtime.device.toml.changed import changed, part_at, read_value, value_text
from freezingtime.errors import InputError, about, did_you_mean
from freezingtime.units import MAX_VALUE, format_time_ns, parse_time_ns

#: The key of the tables in a description.
AT_TABLES = "at"

_FORM = "write TIME KEY=VALUE..., such as 5s read=2ms"
_PREFIX = "parameters."


class ChangeTable(Parameters, frozen=True, kw_only=True):
    """Table ``[[at]]``: other values from some time on."""

    time_ns: Annotated[TimeNs, key("when, from the start of the job on", most=MAX_VALUE)] = field(
        name="time"
    )
    parameters: Annotated[Table, key("the keys that change, with their new values")]

    @property
    def values(self) -> dict[str, object]:
        """The new values, by their paths."""
        return dict(flattened("", self.parameters.content))


#: Returns the parameters that a model declares, by its name; raises InputError for no model.
DeclaredOf: TypeAlias = Callable[[str], type[ModelParameters]]


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A member of a composition that changes, and all of its parameters from then on."""

    index: int
    params: ModelParameters
    members: Sequence[MemberChange] | None = None
    """If that is a composition, too: its members that change."""


@dataclass(frozen=True, slots=True)
class GivenChange:
    """A change, and all parameters of the device from then on."""

    time_ns: int
    text: str
    """As ``--at`` has it."""
    params: ModelParameters
    members: Sequence[MemberChange] | None = None
    """Of a composition: its members that change, while it stays as it is."""


def parse_change(text: str) -> tuple[str, dict[str, object]]:
    """Return the time of a change's text, which is not looked at, and the values by their paths.

    Raises:
        InputError: it is none.
    """
    time, *pairs = text.split() or [""]
    values = parse_values(pairs, _FORM)
    parse_time_ns(time)
    return time, values


def parse_values(pairs: Iterable[str], form: str) -> dict[str, object]:
    """Return the values of ``KEY=VALUE`` each, by their paths; ``form`` is what would be right.

    Raises:
        InputError: one is none, or there is none.
    """
    values: dict[str, object] = {}
    for pair in pairs:
        path, _, value = pair.partition("=")
        if not path or not value:
            raise InputError(f"{pair}: {form}")
        if path in values:
            raise InputError(f"{path}: is given twice; keep one")
        values[path] = read_value(value)
    if not values:
        raise InputError(form)
    return values


def change_text(time: str, values: Mapping[str, object]) -> str:
    """The text of which :func:`parse_change` makes the change."""
    pairs = (f"{path}={value_text(value)}" for path, value in values.items())
    return " ".join([time, *pairs])


def change_table(text: str) -> dict[str, Any]:
    """The table that a change's text stands for.

    Raises:
        InputError: it is none.
    """
    time, values = parse_change(text)
    return {"time": time, "parameters": values}


def read_changes(
    tables: Sequence[ChangeTable],
    content: Mapping[str, Any],
    file: str,
    declared_of: DeclaredOf,
    *,
    names_change: bool = True,
) -> tuple[GivenChange, ...]:
    """Read changes of the device of a description's content, in order of time.

    With ``names_change``, messages begin with the file and the change.

    Raises:
        InputError: one is not right, or changes what cannot change.
    """
    given = []
    now = dict(content)
    declared = declared_of(str(content.get("model")))
    before = Table(now, file).below("parameters").read(declared)
    for each in sorted(tables, key=lambda table: table.time_ns):
        text = change_text(format_time_ns(each.time_ns), each.values)
        with about(f"{file}: at {text}: " if names_change else ""):
            now = changed(now, each.values)
            for path in each.values:
                _require_changeable(path, path, now, declared_of)
            params = Table(now, file).below("parameters").read(declared)
            members = _member_changes(before, params, declared_of)
        before = params
        given.append(GivenChange(each.time_ns, text, params, members))
    return tuple(given)


def unreached(changes: Sequence[GivenChange], end_ns: int) -> tuple[str, ...]:
    """The changes, as ``--at`` has them, whose time has not come when the job ends at a time."""
    return tuple(change.text for change in changes if change.time_ns > end_ns)


def _member_changes(
    before: ModelParameters, after: ModelParameters, declared_of: DeclaredOf
) -> Sequence[MemberChange] | None:
    """The members whose tables are others, each with what it is from then on."""
    if not (isinstance(before, Composition) and isinstance(after, Composition)):
        return None
    members = []
    for index, (was, now) in enumerate(zip(before.tables, after.tables, strict=True)):
        if was.content != now.content:
            declared = declared_of(str(now.content.get("model")))
            old, new = (each.below("parameters").read(declared) for each in (was, now))
            members.append(MemberChange(index, new, _member_changes(old, new, declared_of)))
    return members


def _require_changeable(
    shown: str, path: str, content: Mapping[str, Any], declared_of: DeclaredOf
) -> None:
    """Require that a key can change, of a device's content; messages call it ``shown``."""
    model = str(content.get("model"))
    declared = declared_of(model)
    name = path.removeprefix(_PREFIX)
    if is_changeable(name, declared):
        return
    part = part_at(content.get("parameters", {}), name)
    if part is not None and issubclass(declared, Composition):
        member, below = part
        if "device" in member:
            raise InputError(
                f"{shown}: the member is {member['device']}, which is described elsewhere; a "
                "member changes if its model and parameters stand in the composition"
            )
        _require_changeable(shown, below, member, declared_of)
        return
    what = ", ".join(declared.changeable)
    known = [known for known, _ in walk(declared)]
    able = [*declared.changeable, *(each for each in known if is_changeable(each, declared))]
    raise InputError(
        f"{shown}: cannot change while the device runs; "
        # Of a key that there is, its user has meant that one.
        + ("" if name in known else did_you_mean(name, able))
        + (f"the model {model} can change {what}" if what else f"no key of the model {model} can")
        + (
            ", but those of its members: member[1].parameters.KEY"
            if issubclass(declared, Composition)
            else ""
        )
    )


def is_changeable(name: str, declared: type[ModelParameters]) -> bool:
    """Return whether the key of that path can change while a device of the model runs."""
    return any(name == known or name.startswith(f"{known}.") for known in declared.changeable)


def flattened(path: str, content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values of a table and of those below it, with their paths behind ``path``."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flattened(f"{path}{name}.", value)
        else:
            yield f"{path}{name}", value
