# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter of system calls for workers, made from what an operation declares. PRIVATE to the collection.

It refuses what only a capability that the operation does not have is good for, and the ways to get one in a namespace of
one's own: what the kernel would refuse at the end of its code, it refuses before the beginning. What any program needs
goes through. Sources: include/uapi/linux/seccomp.h, filter.h and audit.h, the kernel's tables of system calls.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .capability_names import NUMBERS

#: Architecture: its number for audit, and in which column of the tables it is.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32 = 0x40000000

#: Numbers on x86_64 and aarch64, -1 where there is no such call; refused unless one of the capabilities is declared.
_NEEDS: tuple[tuple[tuple[str, ...], dict[str, tuple[int, int]]], ...] = (
    (
        ("sys_admin",),
        {
            "mount": (165, 40),
            "umount2": (166, 39),
            "pivot_root": (155, 41),
            "open_tree": (428, 428),
            "move_mount": (429, 429),
            "fsopen": (430, 430),
            "fsconfig": (431, 431),
            "fsmount": (432, 432),
            "fspick": (433, 433),
            "mount_setattr": (442, 442),
            "swapon": (167, 224),
            "swapoff": (168, 225),
            "quotactl": (179, 60),
            "quotactl_fd": (443, 443),
            "sethostname": (170, 161),
            "setdomainname": (171, 162),
            "unshare": (272, 97),
            "setns": (308, 268),
            "fanotify_init": (300, 262),
            "add_key": (248, 217),
            "request_key": (249, 218),
            "keyctl": (250, 219),
        },
    ),
    (
        ("sys_ptrace",),
        {
            "ptrace": (101, 117),
            "process_vm_readv": (310, 270),
            "process_vm_writev": (311, 271),
            "kcmp": (312, 272),
            "pidfd_getfd": (438, 438),
            "userfaultfd": (323, 282),
        },
    ),
    (("sys_chroot",), {"chroot": (161, 51)}),
    (("sys_module",), {"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106)}),
    (("sys_boot",), {"kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142)}),
    (("bpf", "sys_admin"), {"bpf": (321, 280)}),
    (("perfmon", "sys_admin"), {"perf_event_open": (298, 241)}),
    (("sys_time",), {"settimeofday": (164, 170), "clock_settime": (227, 112)}),
    (("sys_rawio",), {"iopl": (172, -1), "ioperm": (173, -1)}),
    (("sys_pacct",), {"acct": (163, 89)}),
    (("syslog", "sys_admin"), {"syslog": (103, 116)}),
    (("sys_tty_config",), {"vhangup": (153, 58)}),
    (("dac_read_search",), {"open_by_handle_at": (304, 265)}),
    # Nobody needs these here, and many a hole was in them.
    (
        (),
        {
            "io_uring_setup": (425, 425),
            "io_uring_enter": (426, 426),
            "io_uring_register": (427, 427),
            "modify_ldt": (154, -1),
        },
    ),
)
_PROGRAMS = {"execve": (59, 221), "execveat": (322, 281)}
_SOCKET, _CLONE, _CLONE3, _IOCTL = (41, 198), (56, 220), (435, 435), (16, 29)
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
#: Type into somebody's terminal, and paste into the console.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17

_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
#: Where struct seccomp_data has the number, the architecture and the low halves of the first two arguments.
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24

_PR_GET_SECCOMP, _PR_SET_SECCOMP, _MODE_FILTER = 21, 22, 2

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def compiled(capabilities: list[int], forbid: tuple[str, ...] = (), machine: str = "") -> bytes:
    """Give the filter for an operation with these capabilities, by number. Raises KeyError for an unknown machine."""
    architecture, column = _ARCHITECTURES[machine or os.uname().machine]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        # The numbers of another architecture mean something else.
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if column == 0:
        code += [(_ABOVE, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]

    def refuse(number: int, error: int = _EPERM) -> None:
        if number >= 0:
            code.extend([(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | error)])

    for needed, calls in _NEEDS:
        if not any(NUMBERS[name] in capabilities for name in needed):
            for numbers in calls.values():
                refuse(numbers[column])
    if "programs" in forbid:
        for numbers in _PROGRAMS.values():
            refuse(numbers[column])
    if NUMBERS["sys_admin"] not in capabilities:
        # Its flags are in memory, where no filter sees them. The C library takes the older call instead.
        refuse(_CLONE3[column], _ENOSYS)
        code += [
            (_EQUAL, 0, 4, _CLONE[column]),
            (_LOAD, 0, 0, _FIRST),
            (_BITS, 0, 1, _NAMESPACES),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_LOAD, 0, 0, _NUMBER),
        ]
    code += [
        (_EQUAL, 0, 5, _IOCTL[column]),
        (_LOAD, 0, 0, _SECOND),
        (_EQUAL, 1, 0, _TIOCSTI),
        (_EQUAL, 0, 1, _TIOCLINUX),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]
    families = [_AF_UNIX]
    if "network" not in forbid:
        families += [_AF_INET, _AF_INET6, _AF_NETLINK]
        if NUMBERS["net_raw"] in capabilities:
            families.append(_AF_PACKET)
    # Others are loaded as modules by whoever asks for them.
    code += [(_EQUAL, 0, len(families) + 2, _SOCKET[column]), (_LOAD, 0, 0, _FIRST)]
    code += [(_EQUAL, len(families) - number, 0, family) for number, family in enumerate(families)]
    code += [(_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *one) for one in code)


def install(program: bytes) -> None:
    """Filter the calls of this process, and of all that it starts, for good; `no_new_privs` must be set. Raises OSError."""
    if _prctl(_PR_SET_SECCOMP, program) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def rehearse(program: bytes) -> None:
    """Go through what `install` goes through, and change nothing."""
    _prctl(_PR_GET_SECCOMP, program)


def _prctl(option: int, program: bytes) -> int:
    zero = ctypes.c_ulong(0)
    loaded = _Program(len(program) // 8, program)
    return int(_libc.prctl(option, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(loaded), zero, zero))
