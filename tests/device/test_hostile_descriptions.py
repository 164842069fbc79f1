# SPDX-License-Identifier: GPL-2.0-or-later
"""Device files that somebody else wrote: they end in one line, soon, and run no code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freezingtime.device import own_model
from freezingtime.device.compose.composition_limits import DEPTH_MAX, MEMBERS_MAX
from freezingtime.device.registry import describe, from_content
from freezingtime.device.toml.toml_file import SIZE_MAX_BYTES
from freezingtime.errors import InputError
from tests.conftest import RunProgram

LEAF = {"model": "latency", "parameters": {"read": {"fixed": "1us"}, "write": {"fixed": "1us"}}}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TOML file that names code, which leaves a file where it runs."""
    monkeypatch.setattr(own_model, "_is_code_allowed", False)
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\n"
        "from freezingtime.device.constant import ConstantDevice\n"
        f"Path({str(tmp_path)!r}, 'ran').touch()\n"
        "def Own(seed):\n"
        "    return ConstantDevice(read_ns=1, write_ns=1, flush_ns=1, discard_ns=1)\n"
    )
    path = tmp_path / "device.toml"
    path.write_text('model = "stripe"\n[[parameters.member]]\ndevice = "own.py:Own"\n')
    return path


def test_a_byte_order_mark_is_none_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_bytes(b'\xef\xbb\xbfmodel = "constant"\r\n')
    assert describe(str(path)).build(0) is not None


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        describe(str(path)).build(0)
    assert len(str(caught.value)) < 400 + len(str(path))
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("capacity = " + "9" * 5000, "has a number with too many digits"),
        ("x = " + "[" * 100_000, "has more than 32 nested tables or lists"),
        ("x = " + "[" * 40 + "]" * 40, "has more than 32 nested tables or lists"),
        ("[notes]\n" + ".".join("a" * 2000) + " = 1", "has more than 32 nested tables"),
        ("model = " + "9" * 4000, "model = 99999999"),
        ("#" * (SIZE_MAX_BYTES + 1), "has more than 4MiB; name a readable device description"),
        ("model = ", "not TOML: "),
    ],
    ids=["digits", "nested", "nested and closed", "dotted", "long number", "size", "no TOML"],
)
def test_content_that_no_device_has(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "device.toml"
    path.write_text(content)
    assert refusal(path).startswith(said)


def test_files_that_are_none(tmp_path: Path) -> None:
    """None of them is read to its end, or waited for."""
    zero, pipe, directory = (tmp_path / f"{name}.toml" for name in ("zero", "pipe", "directory"))
    zero.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    directory.mkdir()
    for path in (zero, pipe, directory):
        assert refusal(path) == "is not a regular file; name a readable device description"


def nested(levels: int, count: int, leaf: dict[str, object]) -> dict[str, object]:
    for _ in range(levels):
        leaf = {"model": "stripe", "parameters": {"count": count, "member": [leaf]}}
    return leaf


def test_members_in_all_and_in_depth_are_bounded() -> None:
    from_content(nested(2, 30, LEAF), "x.toml", "x").build(0)
    with pytest.raises(InputError, match=f"a device has at most {MEMBERS_MAX} members"):
        from_content(nested(6, 64, LEAF), "x.toml", "x").build(0)
    from_content(nested(DEPTH_MAX, 1, LEAF), "x.toml", "x").build(0)
    with pytest.raises(InputError, match=f"nests deeper than {DEPTH_MAX} levels"):
        from_content(nested(DEPTH_MAX + 1, 1, LEAF), "x.toml", "x").build(0)


def test_files_that_name_each_other_are_bounded_too(tmp_path: Path) -> None:
    """Each file names the next 20 times; what a disk says of itself is looked up as well."""
    for level in range(6):
        member = f'[[parameters.member]]\ndevice = "{level + 1}.toml"\n'
        (tmp_path / f"{level}.toml").write_text('model = "stripe"\n' + member * 20)
    (tmp_path / "6.toml").write_text(
        'model = "stripe"\n[[parameters.member]]\ndevice = "constant:1us"\n'
    )
    description = describe(str(tmp_path / "0.toml"))
    for look in (lambda: description.build(0), description.traits):
        with pytest.raises(InputError, match=f"a device has at most {MEMBERS_MAX} members"):
            look()


def test_a_file_that_names_code_does_not_run_it(code: Path) -> None:
    assert refusal(code) == (
        "parameters.member[1].device = 'own.py:Own': is Python code; if you "
        "trust the file and the code, allow it with --allow-code"
    )
    with pytest.raises(InputError, match="is Python code"):
        describe(str(code)).traits()
    code.write_text('model = "stripe"\n[[parameters.member]]\ndevice = "os:system"\n')
    assert "is Python code" in refusal(code)
    assert not (code.parent / "ran").exists()


def test_code_that_the_user_trusts_is_run(code: Path) -> None:
    own_model.allow_code()
    describe(str(code)).build(0)
    assert (code.parent / "ran").exists()


def test_code_that_the_user_names_is_run(code: Path) -> None:
    describe(f"{code.parent}/own.py:Own").build(0)
    assert (code.parent / "ran").exists()


def test_the_option(freezingtime: RunProgram, code: Path) -> None:
    trace = code.parent / "trace.csv"
    trace.write_text("arrival_ns,operation,offset_bytes,length_bytes\n0,read,0,4096\n")
    refused = freezingtime("replay", trace, "--device", code)
    assert refused.returncode == 2
    assert refused.stderr.endswith("allow it with --allow-code\n")
    assert not (code.parent / "ran").exists()
    allowed = freezingtime("replay", trace, "--device", code, "--allow-code")
    assert allowed.returncode == 0, allowed.stderr
    assert (code.parent / "ran").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "cannot load {path}: ZeroDivisionError: division by zero"),
        ("def X(seed): raise KeyError('a')", "cannot be constructed with a seed: KeyError: 'a'"),
    ],
)
def test_own_code_that_fails(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        describe(f"{path}:X").build(0)
    assert str(caught.value) == f"{path}:X: {said.format(path=path)}"
