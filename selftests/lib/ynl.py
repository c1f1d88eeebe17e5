# SPDX-License-Identifier: GPL-2.0
"""The family in the hands of the kernel tree's own client (pyynl)."""

import importlib.util
import os
import socket
import sys

from lib import ktap, net

TOP = os.environ.get("XTUN_TOP") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../..")
SPEC = os.path.join(TOP, "Documentation/netlink/specs/xtun.yaml")
_YNL = os.path.join(os.environ.get("XTUN_CACHE", "/nonexistent"), "source/6.12/tools/net/ynl")


def client(ns):
    """A client made of the spec and of nothing else."""
    if not os.path.isdir(_YNL):
        ktap.skip("no pyynl: linux-source-6.12 is not in the cache")
    with ns:
        made = _load().YnlFamily(SPEC, schema="")
    # On a slow machine there are many events before somebody reads.
    made.sock.setsockopt(socket.SOL_SOCKET, net.SO_RCVBUFFORCE, 1 << 22)
    ktap.defer(made.sock.close)
    return made


def refusal(family, *args):
    """What do() or dump() is refused with: errno and the kernel's words."""
    try:
        family(*args)
    except _load().NlError as error:
        return -error.nl_msg.error, error.nl_msg.extack.get("msg", "")
    return None


def _load():
    """Under another name: its folder is called lib, as this one is."""
    if "pyynl" not in sys.modules:
        folder = os.path.join(_YNL, "lib")
        spec = importlib.util.spec_from_file_location(
            "pyynl", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
        module = importlib.util.module_from_spec(spec)
        sys.modules["pyynl"] = module
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            del sys.modules["pyynl"]
            ktap.skip(f"pyynl: {error}")
    return sys.modules["pyynl"]
