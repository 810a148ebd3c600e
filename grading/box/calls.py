"""System calls that a session may not make: ways to new namespaces, to other processes, and to uncounted memory."""

from __future__ import annotations

import ctypes
import os
import platform

SET_NO_NEW_PRIVS, SET_SECCOMP, FILTER_MODE = 38, 22, 2
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in the kernel's seccomp_data
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NEWUSER, ENOSYS, EPERM = 0x10000000, 38, 1
OTHER_ABI = 0x40000000  # numbers from here on belong to the x32 calls

# since Linux 5.0 numbers are the same everywhere: io_uring, open_tree .. fsmount, mount_setattr, memfd_secret
_NEWER = (425, 426, 427, 428, 429, 430, 431, 432, 433, 442, 447)
# ptrace, process_vm_readv and _writev; shmget, msgget, semget, memfd_create; mount, umount2, pivot_root, chroot;
# unshare, setns; add_key, request_key, keyctl; perf_event_open, bpf, userfaultfd
_REFUSED = {
    "x86_64": (101, 310, 311, 29, 68, 64, 319, 165, 166, 155, 161, 272, 308, 248, 249, 250, 298, 321, 323),
    "aarch64": (117, 270, 271, 194, 186, 190, 279, 40, 39, 41, 51, 97, 268, 217, 218, 219, 241, 280, 282),
}
_CLONE, _CLONE3 = {"x86_64": 56, "aarch64": 220}, 435
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("first", ctypes.POINTER(_Instruction)))


def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter for one architecture, as (code, jump if true, jump if false, value)."""
    program = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, _AUDIT[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, OTHER_ABI),
        (RETURN, 0, 0, REFUSE | EPERM),
        (EQUAL, 0, 1, _CLONE3),  # its flags lie in memory, out of a filter's sight; without it clone is used
        (RETURN, 0, 0, REFUSE | ENOSYS),
    ]
    for number in (*_REFUSED[machine], *_NEWER):
        program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | EPERM)]
    program += [(EQUAL, 0, 3, _CLONE[machine]), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, NEWUSER)]
    return [*program, (RETURN, 0, 0, REFUSE | EPERM), (RETURN, 0, 0, ALLOW)]


def forbid() -> None:
    """Install the filter on this process and all it will start; on other architectures there is none."""
    machine = platform.machine()
    if machine not in _REFUSED:
        return
    parts = [_Instruction(*part) for part in instructions(machine)]
    array = (_Instruction * len(parts))(*parts)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(_Program(len(parts), array)), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
