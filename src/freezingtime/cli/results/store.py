# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime store`: the results that sweeps read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from freezingtime.cli.options import JsonOption, group_app
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.explore.gate.noted import remove_stale_notes
from freezingtime.host.foreign_text import say, show
from freezingtime.host.os_errors import os_errors_as
from freezingtime.option import Argument, Option
from freezingtime.store.results.archive import export_results, import_results
from freezingtime.store.results.result_store import (
    ResultStore,
    StoredResult,
    damage,
    default_store,
    key_text,
    stored_bytes,
    used_s,
)
from freezingtime.units import counted, format_size_bytes, parse_option, parse_size_bytes

EXIT_DAMAGED = 1

_KEY_DIGITS_SHOWN = 12
_WHAT_LENGTH_MAX = 60

StoreOption: TypeAlias = Annotated[
    Path | None, Option("DIR", "The store. Default: in the cache.", flag="--store")
]


def list_command(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the results in the store: key, when it was last used, size, and what was run."""
    entries = [each for each in _store(store).entries() if isinstance(each, StoredResult)]
    if as_json:
        print_json([_document(entry) for entry in entries])
        return 0
    rows = [
        (
            entry.key[:_KEY_DIGITS_SHOWN],
            f"{datetime.fromtimestamp(used_s(entry.directory), UTC):%Y-%m-%d %H:%M}",
            format_size_bytes(stored_bytes(entry.directory)),
            "ok" if entry.content.failure is None else "failed",
            _what(_plan(entry)),
        )
        for entry in entries
    ]
    print_columns([("key", "used", "size", "status", "what"), *rows])
    total_bytes = sum(stored_bytes(entry.directory) for entry in entries)
    count = counted(len(entries), "result")
    show(f"{count}, {format_size_bytes(total_bytes)} in {_store(store).root}")
    return 0


def verify_command(
    store: StoreOption = None,
    remove: Annotated[bool, Option("", "Remove the results that are damaged.")] = False,
) -> int:
    """Read every file of every result, and check it against its checksum.

    The exit status is 1 if one is damaged. Whether a result is still what a run gives,
    `sweep --verify-cache` tells.
    """
    chosen = _store(store)
    count = damaged = 0
    for entry in chosen.entries():
        directory = entry.directory if isinstance(entry, StoredResult) else entry
        count += 1
        problem = damage(directory)
        if problem is None:
            continue
        damaged += 1
        show(f"DAMAGED {directory}: {problem}")
        if remove:
            with os_errors_as(InputError, directory, "remove it by hand"):
                chosen.remove(directory)
    removed = ", removed" if remove and damaged else ""
    show(f"{counted(count, 'result')}, {damaged} damaged{removed}")
    return EXIT_DAMAGED if damaged else 0


def prune_command(
    limit: Annotated[str, Option("SIZE", "Keep the results last used, up to this much in all.")],
    store: StoreOption = None,
) -> int:
    """Remove the results that were not used for longest, until the rest fits.

    Example: `freezingtime store prune --limit 10GiB`
    """
    limit_bytes = parse_option("--limit", limit, parse_size_bytes)
    chosen = _store(store)
    chosen.remove_leftovers()
    entries = [
        entry.directory if isinstance(entry, StoredResult) else entry for entry in chosen.entries()
    ]
    sizes_bytes = {directory: stored_bytes(directory) for directory in entries}
    left_bytes, removed = sum(sizes_bytes.values()), 0
    for directory in sorted(entries, key=_used_s):
        if left_bytes <= limit_bytes:
            break
        with os_errors_as(InputError, directory, "prune as the user who owns the store"):
            chosen.remove(directory)
        left_bytes -= sizes_bytes[directory]
        removed += 1
    notes = remove_stale_notes(chosen)
    of_gates = f", and {counted(notes, 'baseline')} of `gate` that needed them" if notes else ""
    show(f"removed {counted(removed, 'result')}, kept {len(entries) - removed}{of_gates}")
    return 0


def export_command(
    file: Annotated[Path, Argument("FILE", "Archive to write.")],
    key: Annotated[
        Sequence[str], Argument("KEY", "Keys, or their first digits. Default: all results.")
    ] = (),
    store: StoreOption = None,
) -> int:
    """Write results to a tar archive, for another machine or a CI cache."""
    say(f"{counted(export_results(_store(store), file, key), 'result')} in {file}")
    return 0


def import_command(
    file: Annotated[Path, Argument("FILE", "Archive that `store export` has written.")],
    store: StoreOption = None,
) -> int:
    """Take the results of an archive into the store.

    Import archives only of those whose figures you believe.
    """
    new, known = import_results(_store(store), file)
    say(f"{counted(new, 'result')} taken, {known} were there")
    return 0


def _store(path: Path | None) -> ResultStore:
    if path is None:
        return default_store()
    if not path.is_dir() and path.exists():
        raise InputError(f"--store {path}: is no directory; name one")
    return ResultStore(path)


def _used_s(directory: Path) -> float:
    """Return the time of a last use; what cannot be read was never used."""
    try:
        return used_s(directory)
    except OSError:
        return 0.0


def _plan(entry: StoredResult) -> Mapping[str, Any]:
    try:
        plan = key_text(entry.directory).get("plan")
    except (OSError, ValueError):
        return {}  # `store verify` says what is wrong
    return plan if isinstance(plan, dict) else {}


def _what(plan: Mapping[str, Any]) -> str:
    """Describe in a few words what was run."""
    disks = [plan.get("device"), *plan.get("disks", ())]
    texts = [str(disk["text"]) for disk in disks if isinstance(disk, dict) and "text" in disk]
    load = plan.get("workload") or plan.get("script") or "trace"
    words = f"{plan.get('kind', '?')}: {' '.join(str(load).split())} on {', '.join(texts)}"
    return f"{words[: _WHAT_LENGTH_MAX - 3]}..." if len(words) > _WHAT_LENGTH_MAX else words


def _document(entry: StoredResult) -> dict[str, Any]:
    return {
        "key": entry.key,
        "path": str(entry.run_path),
        "used_s": used_s(entry.directory),
        "size_bytes": stored_bytes(entry.directory),
        "failure": entry.content.failure,
        "figures": entry.content.figures,
        "plan": _plan(entry),
    }


app = group_app(
    "List, check, prune and move the results that sweeps read back.",
    {
        "list": list_command,
        "verify": verify_command,
        "prune": prune_command,
        "export": export_command,
        "import": import_command,
    },
)
