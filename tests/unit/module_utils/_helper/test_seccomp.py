# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the filters decide, on both architectures, by a machine that runs them as the kernel does."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema, seccomp
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.capability_names import NUMBERS

ALLOW, EPERM, ENOSYS, EAFNOSUPPORT, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050061, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: From the kernel's own tables, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
CALLS = {
    "x86_64": {
        "read": 0, "execve": 59, "mount": 165, "unshare": 272, "ptrace": 101, "init_module": 175, "bpf": 321,
        "io_uring_setup": 425, "clone": 56, "clone3": 435, "ioctl": 16, "socket": 41, "reboot": 169, "setns": 308,
    },
    "aarch64": {
        "read": 63, "execve": 221, "mount": 40, "unshare": 97, "ptrace": 117, "init_module": 105, "bpf": 280,
        "io_uring_setup": 425, "clone": 220, "clone3": 435, "ioctl": 29, "socket": 198, "reboot": 142, "setns": 268,
    },
}  # fmt: skip


def run(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """What the program returns for a call."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("<HBBI", program))
    value = at = 0
    while True:
        kind, yes, no, operand = code[at]
        at += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif kind == 0x15:
            at += yes if value == operand else no
        elif kind == 0x35:
            at += yes if value >= operand else no
        elif kind == 0x45:
            at += yes if value & operand else no
        elif kind == 0x06:
            return int(operand)
        else:
            raise AssertionError(f"unknown instruction {kind:#x}")


@pytest.fixture(params=sorted(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def decide(machine: str, call: str, *arguments: int, forbid: tuple[str, ...] = (), has: tuple[str, ...] = ()) -> int:
    program = seccomp.compiled([NUMBERS[one] for one in has], forbid, machine)
    return run(program, CALLS[machine][call], ARCHITECTURES[machine], *arguments)


def test_a_capability_opens_what_it_is_for_and_nothing_else(machine: str) -> None:
    for call, capability in (
        ("mount", "sys_admin"),
        ("unshare", "sys_admin"),
        ("setns", "sys_admin"),
        ("ptrace", "sys_ptrace"),
        ("init_module", "sys_module"),
        ("reboot", "sys_boot"),
        ("bpf", "bpf"),
        ("bpf", "sys_admin"),
    ):
        assert decide(machine, call) == EPERM, call
        assert decide(machine, call, has=("net_admin", "chown")) == EPERM, call
        assert decide(machine, call, has=(capability,)) == ALLOW, call


def test_what_any_program_does_goes_through(machine: str) -> None:
    assert decide(machine, "read") == decide(machine, "execve") == ALLOW
    # As fork does it, and as a thread is made.
    assert decide(machine, "clone", 0x01200011) == decide(machine, "clone", 0x3D0F00) == ALLOW


def test_no_namespace_is_made_without_the_capability_to(machine: str) -> None:
    for flag in (0x00020000, 0x10000000, 0x40000000, 0x20000000):
        assert decide(machine, "clone", flag | 17) == EPERM
        assert decide(machine, "clone", flag | 17, has=("sys_admin",)) == ALLOW
    assert decide(machine, "clone3") == ENOSYS
    assert decide(machine, "clone3", has=("sys_admin",)) == ALLOW


def test_terminals_are_not_typed_into(machine: str) -> None:
    assert decide(machine, "ioctl", 0, 0x5412) == decide(machine, "ioctl", 0, 0x541C) == EPERM
    # The kernel takes the low half alone for the command.
    assert decide(machine, "ioctl", 0, 0xFFFFFFFF00005412) == EPERM
    assert decide(machine, "ioctl", 0, 0x5401) == ALLOW


def test_only_the_usual_sockets(machine: str) -> None:
    assert [decide(machine, "socket", family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert decide(machine, "socket", 17) == decide(machine, "socket", 38) == EAFNOSUPPORT
    assert decide(machine, "socket", 17, has=("net_raw",)) == ALLOW
    assert [decide(machine, "socket", one, forbid=("network",)) for one in (1, 2, 10, 16)] == [ALLOW] + [
        EAFNOSUPPORT
    ] * 3


def test_programs_can_be_forbidden(machine: str) -> None:
    assert decide(machine, "execve", forbid=("programs",)) == EPERM


def test_io_uring_is_for_nobody(machine: str) -> None:
    assert decide(machine, "io_uring_setup", has=tuple(NUMBERS)) == EPERM


def test_numbers_of_another_architecture_end_the_process(machine: str) -> None:
    program = seccomp.compiled([], (), machine)
    assert run(program, 0, 0x40000003) == KILL
    assert run(program, 0, ARCHITECTURES["aarch64" if machine == "x86_64" else "x86_64"]) == KILL


def test_x32_is_not_a_way_around() -> None:
    assert run(seccomp.compiled([], (), "x86_64"), 0x40000000 | 165, ARCHITECTURES["x86_64"]) == ENOSYS


def test_a_filter_fits_into_the_kernels_bound(machine: str) -> None:
    assert len(seccomp.compiled([], schema.FORBID, machine)) // 8 < 4096


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"forbid": ["internet"]}, "network and programs"),
        ({"forbid": "network"}, "network and programs"),
        ({"forbid": ["programs"]}, "a program itself"),
        ({"forbid": ["network"], "seccomp": False}, "leaves out"),
        ({"seccomp": "no"}, "true, false or required"),
        ({"seccomp": 1}, "true, false or required"),
    ],
)
def test_what_is_wrong_is_told(keys: dict[str, Any], word: str) -> None:
    operations = {"one": {"argv": ["/bin/true"], "allow": [], **keys}}
    document = {"format": 1, "socket": "/run/x/socket", "state_directory": "/run/x", "operations": operations}
    assert any(word in line for line in schema.problems(document))
