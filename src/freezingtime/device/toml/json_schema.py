# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of device descriptions, for editors: made of what is declared.

Taplo, which editors use for TOML, takes the schema that a file's first line names::

    #:schema ./device.schema.json

What needs more than one key to be checked is checked only when the description is read.
"""

from __future__ import annotations

from typing import Any

from freezingtime.device.compose.members import Member
from freezingtime.device.description import DeviceFile
from freezingtime.device.registry import MODELS, declared_parameters
from freezingtime.device.schema import Key, Parameters, keys_of

#: What the schema's file is called, for the line in a description.
SCHEMA_FILE = "device.schema.json"
#: The line for Taplo.
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}"

#: What Taplo knows.
DRAFT = "http://json-schema.org/draft-07/schema#"

_JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def device_schema() -> dict[str, Any]:
    """The whole schema, in draft 7, which Taplo knows."""
    definitions: dict[str, Any] = {}
    described = {"title": "A device of Freezing Time", **_table(DeviceFile, definitions)}
    return {
        "$schema": DRAFT,
        **described,
        "oneOf": [_of_model(model, definitions) for model in MODELS],
        "definitions": definitions,
    }


def table_schema(declared: type[Parameters], title: str) -> dict[str, Any]:
    """The schema of a declared table that has no tables but open ones."""
    return {"title": title, **_table(declared, {})}


def _of_model(model: str, definitions: dict[str, Any]) -> dict[str, Any]:
    parameters = _reference(declared_parameters(model), definitions)
    needed = any(key.needed for key in keys_of(declared_parameters(model)))
    return {
        "properties": {"model": {"const": model}, "parameters": parameters},
        "required": ["model", *(["parameters"] if needed else [])],
    }


def _reference(declared: type[Parameters], definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to a table's schema, which is put into ``definitions``."""
    name = declared.__name__
    if name not in definitions:
        definitions[name] = {}  # a table may contain itself
        definitions[name] |= _table(declared, definitions)
        if issubclass(declared, Member):
            of_models = [_of_model(model, definitions) for model in MODELS]
            definitions[name]["oneOf"] = [{"required": ["device"]}, *of_models]
    return {"$ref": f"#/definitions/{name}"}


def _table(declared: type[Parameters], definitions: dict[str, Any]) -> dict[str, Any]:
    keys = keys_of(declared)
    tag = declared.__struct_config__.tag
    kind = {declared.__struct_config__.tag_field or "": {"const": tag}} if tag else {}
    return {
        "type": "object",
        "properties": kind | {key.name: _key(key, definitions) for key in keys},
        "required": [*kind, *(key.name for key in keys if key.needed)],
        "additionalProperties": False,
    }


def _key(key: Key, definitions: dict[str, Any]) -> dict[str, Any]:
    tables = [_reference(table, definitions) for table in key.tagged_tables.values()]
    if key.table is not None:
        tables.append(_reference(key.table, definitions))
    one = tables[0] if len(tables) == 1 else {"anyOf": tables} if tables else {"type": "object"}
    schema: dict[str, Any]
    if key.is_list:
        schema = {"type": "array", "items": one}
    elif key.notation is not None:
        schema = dict(key.notation.schema)
        schema = {"anyOf": [schema, *tables]} if tables else schema
    elif key.choices:
        schema = {"enum": list(key.choices)}
    elif key.scalar is not None:
        schema = {"type": _JSON_TYPES[key.scalar]}
        bounds = {"minimum": key.least, "maximum": key.most}
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    else:
        schema = {"allOf": [one]} if tables else one  # draft 7 takes no text beside a $ref
    about = {"description": key.text} if key.text else {}
    default = key.written_default
    return schema | about | ({} if default is None else {"default": default})
