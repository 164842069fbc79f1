# SPDX-License-Identifier: GPL-2.0-or-later
"""Baselines that are files: a run directory, a record, several of them, or an archive of results.

==================  =====================================================================
``DIR/``            a run directory, or the record of a replay
``DIR/phase-N/``    the same of each phase, if there are several
``FILE``            the record of a replay
``FILE.tar``        an archive that ``store export`` or ``gate --update`` has written
==================  =====================================================================
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.explore.gate.candidate import Execution
from freezingtime.store.results.archive import export_results, import_results
from freezingtime.store.results.result_store import ResultStore, StoredResult, key_text
from freezingtime.trace.record_paths import RECORD_NAME, is_record
from freezingtime.trace.run_directory import DOCUMENT_NAME
from freezingtime.units import counted

_PHASE = "phase-{}"
_ARCHIVE_SUFFIX = ".tar"


def find_baseline(path: Path, cleanup: ExitStack) -> list[Path]:
    """Return what opens each phase of a baseline; an archive is unpacked until ``cleanup``.

    Raises:
        InputError: there is none, or it is none.
    """
    if not path.exists():
        raise InputError(f"--baseline {path}: does not exist; make one with --update")
    if path.is_file():
        return [path] if is_record(path) else _unpacked(path, cleanup)
    found = _phases_of(path)
    if not found:
        raise InputError(
            f"--baseline {path}: is no run directory: it has no {DOCUMENT_NAME}; make one with "
            "--update"
        )
    return found


def write_baseline(executions: Sequence[Execution], store: ResultStore, path: Path) -> None:
    """Make executions the baseline; one that is there is replaced, at once.

    Raises:
        InputError: something else is there, or it cannot be written.
    """
    if path.is_file() or (path.suffix == _ARCHIVE_SUFFIX and not path.exists()):
        if path.exists() and path.suffix != _ARCHIVE_SUFFIX:
            raise InputError(f"--baseline {path}: is a file; name a directory, or a new FILE.tar")
        export_results(store, path, [each.key for each in executions])
        return
    if path.exists() and not _phases_of(path) and any(path.iterdir()):
        raise InputError(f"--baseline {path}: is not empty, and no run directory; name another")
    place = path.resolve()
    if Path.cwd().is_relative_to(place):
        raise InputError(
            f"--baseline {path}: is the current directory, or has it; name a directory below it"
        )
    building, former = (
        place.with_name(f".{place.name}.{secrets.token_hex(4)}.{what}")
        for what in ("partial", "former")
    )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy(executions, building)
        if place.exists():
            place.rename(former)
        building.rename(place)
    except OSError as error:
        raise InputError(
            f"--baseline {path}: cannot be written ({error.strerror or error}); name another"
        ) from error
    finally:
        with suppress(OSError):
            if former.exists() and not place.exists():  # interrupted, or there is no room
                former.rename(place)
        for left in (building, *([former] if place.exists() else [])):
            with suppress(OSError):
                shutil.rmtree(left)


def _copy(executions: Sequence[Execution], target: Path) -> None:
    for number, each in enumerate(executions):
        place = target if len(executions) == 1 else target / _PHASE.format(number)
        if each.path.is_dir():
            shutil.copytree(each.path, place)
        else:
            place.mkdir(parents=True)
            shutil.copyfile(each.path, place / RECORD_NAME)


def _phases_of(path: Path) -> list[Path]:
    """What opens each phase in a directory; nothing if it is no baseline."""
    single = _opened(path)
    if single is not None:
        return [single]
    found: list[Path] = []
    while (phase := _opened(path / _PHASE.format(len(found)))) is not None:
        found.append(phase)
    return found


def _opened(path: Path) -> Path | None:
    if (path / DOCUMENT_NAME).is_file():
        return path
    record = path / RECORD_NAME
    return record if record.is_file() else None


def _unpacked(path: Path, cleanup: ExitStack) -> list[Path]:
    try:
        scratch = cleanup.enter_context(
            tempfile.TemporaryDirectory(prefix="freezingtime-", ignore_cleanup_errors=True)
        )
        store = ResultStore(Path(scratch))
        import_results(store, path)
        # Each phase has a seed of its own.
        phases = {
            _seed(entry): entry for entry in store.entries() if isinstance(entry, StoredResult)
        }
    except RunError as error:
        raise InputError(f"--baseline {path}: {error}") from error
    except InputError as error:
        raise InputError(f"--baseline {error}") from error
    except OSError as error:
        raise InputError(f"--baseline {path}: {error.strerror or error}; set TMPDIR") from error
    count = sum(1 for _ in store.entries())
    if not phases or count != len(phases):
        raise InputError(
            f"--baseline {path}: has {counted(count, 'result')}, and nothing says which one is "
            "meant; export that of the gate only"
        )
    return [
        opened
        for _, entry in sorted(phases.items(), key=lambda item: item[0])
        if (opened := _opened(entry.run_path)) is not None
    ]


def _seed(entry: StoredResult) -> int:
    plan = key_text(entry.directory).get("plan")
    seed = plan.get("seed") if isinstance(plan, dict) else None
    return seed if isinstance(seed, int) else 0
