# SPDX-License-Identifier: GPL-2.0-or-later
"""Levels of the guest's CPU: a userland that was built for one runs on it, and computes right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.vm.qemu.cpu_model import CpuModel, parse_cpu_model
from freezingtime.vm.qemu.probe import probe
from freezingtime.vm.qemu.program import find_qemu
from tests.conftest import RunProgram, require_tool, skip
from tests.support.guestlib import run_endurance_job, run_guest
from tests.support.qemulib import QemuUnavailableError, newest_qemu, unpacked_qemu

#: What a compiler makes vector instructions, fused multiplications, bit counts and shifts of.
PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

int main(void)
{
    enum { COUNT = 4096 };
    static uint32_t a[COUNT], b[COUNT];
    static double x[COUNT];
    uint64_t bits = 0, hash = 14695981039346656037u;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < COUNT; i++) {
            a[i] = (uint32_t)next();
            b[i] = (uint32_t)next();
            x[i] = (double)(next() >> 40);
        }
        for (int i = 0; i < COUNT; i++) {
            a[i] = (a[i] > b[i] ? a[i] - b[i] : a[i] * 2654435761u) >> (b[i] & 31);
            x[i] = x[i] * x[i] + (double)a[i];
        }
        for (int i = 0; i < COUNT; i++) {
            bits += (uint64_t)__builtin_popcountll(a[i] | ((uint64_t)b[i] << 32));
            bits += a[i] ? (uint64_t)__builtin_ctz(a[i]) + (uint64_t)__builtin_clz(a[i]) : 0;
            hash = (hash ^ a[i] ^ (uint64_t)x[i]) * 1099511628211u;
        }
    }
    printf("%llu %llu\n", (unsigned long long)bits, (unsigned long long)hash);
    return 0;
}
"""

#: cmpxchg16b changes the zero flag alone (Intel SDM, volume 2, "CMPXCHG8B/CMPXCHG16B"). The flags
#: before it are those of an addition, and what QEMU last computed are those of an "or".
FLAGS = r"""
#include <stdint.h>
#include <stdio.h>

int main(void)
{
    static struct { uint64_t low, high; } pair __attribute__((aligned(16)));
    unsigned wrong = 0;
    for (uint64_t i = 0; i < 4096; i++) {
        uint64_t before, after, x = i * 0x9e3779b97f4a7c15u, y = ~x * 3;
        uint64_t low = i + (i & 1), high = i + 1;
        pair.low = i;
        pair.high = i + 1;
        __asm__ volatile(
            "mov %[x], %%r8\n add %[y], %%r8\n pushfq\n pop %[before]\n"
            "mov %[x], %%r8\n or %[y], %%r8\n pushfq\n pop %%r8\n"
            "mov %[x], %%r8\n add %[y], %%r8\n"
            "lock cmpxchg16b %[pair]\n pushfq\n pop %[after]\n"
            : [before] "=&r"(before), [after] "=&r"(after), [pair] "+m"(pair), "+a"(low), "+d"(high)
            : [x] "r"(x), [y] "r"(y), "b"(7ul), "c"(9ul)
            : "r8", "cc", "memory");
        wrong += after != ((before & ~0x40ul) | (i & 1 ? 0 : 0x40));
    }
    printf("%u wrong flags\n", wrong);
    return 0;
}
"""


def build(directory: Path, march: str, name: str = "", text: str = PROGRAM) -> Path:
    """The program for a level, without libraries, so that it runs in any guest."""
    source, program = directory / "program.c", directory / (name or march)
    source.write_text(text)
    subprocess.run(
        [
            *(require_tool("gcc"), "-O3", f"-march={march}", "-mno-red-zone", "-static"),
            *("-o", program, source),
        ],
        check=True,
        timeout=60,
    )
    return program


@pytest.fixture(params=["trixie", "newest"])
def qemu(request: pytest.FixtureRequest) -> str:
    if request.param == "newest":
        return str(newest_qemu())
    try:
        return str(unpacked_qemu(request.param))
    except QemuUnavailableError as error:
        skip(f"no QEMU of {request.param} can be had: {error}")
        raise


@pytest.mark.slow
@pytest.mark.guest
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("model", [CpuModel.V2, CpuModel.V3])
def test_endurance(qemu: str, model: CpuModel) -> None:
    """Completions interrupt the kernel's allocator right behind cmpxchg16b some time."""
    run_endurance_job(qemu=qemu, cpu_model=model)


@pytest.mark.slow
@pytest.mark.guest
@pytest.mark.parametrize("model", [CpuModel.V2, CpuModel.V3])
def test_a_userland_of_a_level_runs_there(qemu: str, model: CpuModel, tmp_path: Path) -> None:
    right = subprocess.run([build(tmp_path, "x86-64")], capture_output=True, check=True).stdout
    build(tmp_path, f"x86-64-{model}")
    build(tmp_path, "x86-64", "flags", FLAGS)
    ran = run_guest(
        f"""./x86-64-{model}
        /lib64/ld-linux-x86-64.so.2 --help | grep -o 'x86-64-v. (supported'
        ./flags""",
        qemu=qemu,
        cpu_model=model,
        job_directory=tmp_path,
    )
    levels = {CpuModel.V2: b"", CpuModel.V3: b"x86-64-v3 (supported\n"}[model]
    assert ran.stdout == right + levels + b"x86-64-v2 (supported\n0 wrong flags\n"


@pytest.mark.parametrize("model", [CpuModel.V2, CpuModel.V3])
def test_a_qemu_with_a_faulty_instruction_is_refused(model: CpuModel) -> None:
    """QEMU 7.2 has wrong flags behind cmpxchg16b, which are seen only by interrupted guests."""
    require_tool("qemu-system-x86_64")
    qemu = find_qemu()
    version = probe(qemu).version
    if not version.startswith("7.2."):
        pytest.skip(f"the QEMU here is {version}, which is sound")
    with pytest.raises(InputError, match=r"^--cpu-model v\d: \S+ leaves wrong flags behind cmpxch"):
        probe(qemu, model)


@pytest.mark.guest
@pytest.mark.parametrize("boot", [[], ["--boot"]])
def test_a_run_on_it_is_refused_however_it_starts(
    freezingtime: RunProgram, boot: list[str]
) -> None:
    """With a snapshot or booted in place, and also where the image is there already."""
    version = probe(find_qemu()).version
    if not version.startswith("7.2."):
        pytest.skip(f"the QEMU here is {version}, which is sound")
    assert freezingtime("run", "-q", "--", "true").returncode == 0
    ended = freezingtime("run", "-q", *boot, "--cpu-model", "v2", "--", "true")
    assert ended.returncode == 2
    assert "leaves wrong flags behind cmpxchg16b" in ended.stderr


def test_an_unknown_level_is_refused() -> None:
    assert parse_cpu_model("v2") is CpuModel.V2
    with pytest.raises(InputError, match=r"^--cpu-model v5: must be v1, v2, v3, a level of "):
        parse_cpu_model("v5")
