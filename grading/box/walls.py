"""The inner walls: what parts one session from the next, raised by system calls in a forked child.

Bubblewrap's walls around the whole box keep the machine safe; these keep two sessions of one box apart: own process
ids, own mounts, own network without devices, own shared memory, an empty scratch folder, no capability, few resources.
"""

from __future__ import annotations

import ctypes
import os
import resource

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
SET_DUMPABLE, CAPBSET_DROP = 4, 24
LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def become(uid: int) -> None:
    """Give up root for good: limits on processes do not bind it."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def hide_from_siblings(hidden: bool = True) -> None:
    """Let no other process of the same user read or steer this one; only Linux has a call for it."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(SET_DUMPABLE, int(not hidden), 0, 0, 0)


def unshare(order: dict) -> None:
    """Enter namespaces of our own; the next child is the first process of its own process namespace."""
    if not order["walls"]:
        return
    uid, gid = os.getuid(), os.getgid()
    resource.setrlimit(resource.RLIMIT_NPROC, (order["box_processes"],) * 2)
    hide_from_siblings(False)  # or the kernel would not let us write the maps
    _call("unshare", NEWUSER | NEWNS | NEWPID | NEWIPC | NEWUTS | NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    hide_from_siblings()


def raise_walls(order: dict) -> None:
    """Mounts of our own: the order's course, an empty scratch folder, nothing of the other sessions; then no rights."""
    if order["walls"]:
        _mount(None, "/", None, REC | PRIVATE)
        _mount(order["tree"], order["course"], None, BIND | REC)
        _mount(None, order["course"], None, BIND | REMOUNT | RDONLY | NOSUID | NODEV)
        for folder in order["hidden"]:
            _mount("none", folder, "tmpfs", RDONLY | NOSUID | NODEV | NOEXEC, "size=4k")
        for folder in (order["scratch"], "/dev/shm"):
            _mount("none", folder, "tmpfs", NOSUID | NODEV, f"size={order['disk']},nr_inodes=4096,mode=700")
        try:
            _mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
        except OSError:  # a container may forbid it: then no process list at all
            _mount("none", "/proc", "tmpfs", RDONLY | NOSUID | NODEV | NOEXEC, "size=4k")
        _drop_capabilities()
    os.chdir(order["scratch"])


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    text = [value.encode() if value else None for value in (source, target, kind)]
    _call("mount", *text, ctypes.c_ulong(flags), options.encode() or None)


def _drop_capabilities() -> None:
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def limit(order: dict, taken: int) -> None:
    """Memory beyond the `taken` address space, processor seconds, processes, size of a file, no core dumps."""
    limits = {
        resource.RLIMIT_CPU: order["cpu"],
        resource.RLIMIT_FSIZE: order["disk"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 128,
    }
    if order["walls"]:
        limits |= {resource.RLIMIT_AS: taken + order["memory"], resource.RLIMIT_NPROC: order["processes"]}
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def address_space() -> int:
    """Bytes of address space that this process has mapped."""
    with open("/proc/self/statm") as counts:
        return int(counts.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
