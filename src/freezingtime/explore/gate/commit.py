# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits of the repository that a job lives in, as far as git tells."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import InputError

OPTION = "--baseline-commit"

_DEADLINE_S = 120.0
_SHORT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a repository."""

    top: Path
    """The top directory of the working tree."""
    digest: str
    ref: str
    """As the user has named it."""

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.ref} ({self.digest[:_SHORT_DIGITS]})"

    def relative(self, path: Path) -> str | None:
        """Return a path relative to the working tree; None: it is outside."""
        try:
            return str(path.resolve().relative_to(self.top))
        except ValueError:
            return None

    def require_checked_out(self) -> None:
        """Require that what is there now is what this commit has.

        Raises:
            InputError: another one is checked out, or a tracked file was changed.
        """
        if _git(self.top, "rev-parse", "HEAD").strip() != self.digest:
            raise InputError(
                f"{OPTION} {self.ref}: is not what is checked out; its baseline is made there: "
                f"git checkout {self.ref}"
            )
        if changed := _git(self.top, "status", "--porcelain", "--untracked-files=no").splitlines():
            raise InputError(
                f"{OPTION} {self.ref}: the working tree differs from it "
                f"({changed[0][3:]}); commit it, or restore it with git"
            )

    def take_out(self, path: Path, root: Path) -> Path:
        """Write a file or directory as the commit has it below ``root``; return its place.

        That is where it lies on the host, seen from ``root``.

        Raises:
            InputError: the commit has not all of it.
        """
        name = self.relative(path)
        if name is None:
            raise InputError(f"{OPTION} {self.ref}: {path} is not in the repository {self.top}")
        if path.resolve() != self.top:
            self._require_tracked(name)
        # By an index of its own: neither the user's index nor the working tree is touched.
        root.mkdir(parents=True, exist_ok=True)
        index = {"GIT_INDEX_FILE": str(root / ".git-index")}
        _git(self.top, "read-tree", self.digest, environment=index)
        names = _git(self.top, "ls-files", "-z", "--", name, environment=index)
        if not names:
            raise InputError(f"{OPTION} {self.ref}: has no {name}; name a commit that has it")
        prefix = root / self.top.relative_to("/")
        _git(
            self.top,
            *("checkout-index", "-z", "--stdin", "--force", f"--prefix={prefix}/"),
            environment=index,
            given=names,
        )
        return prefix / name

    def _require_tracked(self, name: str) -> None:
        """Require that git knows what is there now: built programs and such, it cannot."""
        others = _git(self.top, "ls-files", "-z", "--others", "--", name).split("\0")
        if others[0]:
            raise InputError(
                f"{OPTION} {self.ref}: git does not track {others[0]}, so it cannot tell what "
                "it was; make the baseline when that commit is checked out, with --update"
            )


def find_commit(ref: str, place: Path) -> Commit:
    """Return the commit that a name means in the repository around ``place``.

    Raises:
        InputError: there is no repository or no such commit, or git is not installed.
    """
    directory = place.resolve()
    if not directory.is_dir():
        directory = directory.parent
    try:
        top = _git(directory, "rev-parse", "--show-toplevel").removesuffix("\n")
    except InputError as error:
        raise InputError(f"{OPTION} {ref}: {directory} is in no git repository: {error}") from error
    try:
        digest = _git(
            directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        ).strip()
    except InputError as error:
        raise InputError(
            f"{OPTION} {ref}: {top} has no such commit; in a CI job, fetch it first"
        ) from error
    return Commit(Path(top), digest, ref)


def _git(
    directory: Path, *arguments: str, environment: Mapping[str, str] | None = None, given: str = ""
) -> str:
    """Return what git prints. Raises InputError: it failed, or is not installed."""
    command = ["git", "-C", str(directory), *arguments]
    variables = {**os.environ, "LC_ALL": "C", **(environment or {})}
    try:
        ended = subprocess.run(
            command,
            env=variables,
            input=os.fsencode(given),
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError(f"{OPTION} needs git, which is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"git {arguments[0]}: took more than {_DEADLINE_S:.0f} s") from error
    if ended.returncode:
        lines = os.fsdecode(ended.stderr).strip().splitlines()
        raise InputError(f"git {arguments[0]}: {lines[0] if lines else ended.returncode}")
    return os.fsdecode(ended.stdout)
