# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of plans, for editors: made of what is declared."""

from __future__ import annotations

from typing import Any, get_args

from freezingtime.device.toml.json_schema import DRAFT, table_schema
from freezingtime.explore.sweep.plan.plan_file import PlanFile
from freezingtime.explore.sweep.plan.read_plan import is_list, known_options
from freezingtime.option import DeclaredOption

_SCALARS = {"type": ["string", "number", "boolean"]}
_VALUES = {"anyOf": [{"type": "string"}, {"type": "array", "items": _SCALARS, "minItems": 1}]}


def plan_schema() -> dict[str, Any]:
    """The whole schema, in draft 7, which Taplo knows."""
    schema = table_schema(PlanFile, "A sweep of Freezing Time")
    properties = schema["properties"]
    properties["base"] |= {
        "properties": {flag: _option(option) for flag, (_, option) in known_options().items()},
        "additionalProperties": False,
    }
    # Keys with dots may be tables in tables.
    properties["set"] |= {"additionalProperties": {"$ref": "#/definitions/values"}}
    below = {"type": "object", "additionalProperties": {"$ref": "#/definitions/values"}}
    schema["definitions"] = {"values": {"anyOf": [*_VALUES["anyOf"], below]}}
    return {"$schema": DRAFT, **schema}


def _option(option: DeclaredOption) -> dict[str, Any]:
    kinds = get_args(option.kind) or (option.kind,)
    about = {"description": option.declared.help}
    if is_list(option):
        text = {"type": "string"}
        return {"anyOf": [text, {"type": "array", "items": text}], **about}
    if bool in kinds:
        return {"type": "boolean", **about}
    if str not in kinds and int in kinds:
        bounds = {"minimum": option.declared.minimum or 0, "maximum": option.declared.maximum}
        limits = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"type": "integer", **limits, **about}
    return {"type": ["string", "number"], **about}
