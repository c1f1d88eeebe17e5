#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# make install, make dkms and make uninstall, on a machine as Debian has it: the module
# and the tools are where the system looks for them, they work, and nothing is left.
#
# The machine is the virtual one, whose root is a layer above this machine's.  Where that
# is too old for a kernel's headers, make and DKMS run in a folder with Debian 13 (root).
#
# An emulated processor takes ten minutes to compile the module.  So the compiler is a
# script that hands out what build.sh has compiled, if the source is the same.
import contextlib
import glob
import os
import re
import shutil
import subprocess
import tempfile

from lib import ktap, net, traffic

HOME = "/opt/xtun"      # the checkout, in the system
SOURCES = ("Makefile", "COPYING", "dkms.conf", "kmod", "uapi", "tools", "scripts",
           "Documentation")
MODULE_LIMIT = 4 << 20  # bytes; with its debugging information it has four times as many
LIMIT = 2000            # seconds
# Of the kernel's modules, those that are used here.
MODULES = ("net/ipv4/*.ko*", "net/ipv6/*.ko*", "net/ipv6/netfilter/*.ko*", "drivers/net/veth.ko*")

# What an installation may touch.
PLACES = ("/usr/local", "/usr/src", "/usr/lib/x86_64-linux-gnu/ip", "/var/lib/dkms",
          "/etc/dkms", "/etc/kernel", "/etc/modprobe.d", "/etc/modules-load.d")
# DKMS's own, which it makes when it is first used: its key, the version of its files.
DKMS_OWN = ("/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub", "/var/lib/dkms/dkms_dbversion")

COMPILER = """#!/bin/sh
# What has been compiled from the same source, or else the compiler.
for word; do
	case $word in
	*.c)			source=$word ;;
	-Wp,-MMD,*|-Wp,-MD,*)	depend=${word##*,} ;;
	esac
	[ "$last" != -o ] || object=$word
	last=$word
done
name=${source##*/kmod/}
name=${name#./}
known=%(objects)s/${name%%.c}
if [ -n "$depend" ] && [ -e "$known.o" ] && cmp -s "$source" "$known.c"; then
	echo "$object: $source" >"$depend"
	exec cp "$known.o" "$object"
fi
exec %(compiler)s "$@"
"""


class System:
    """Where things are installed: this machine, or a folder with a newer Debian."""

    def __init__(self):
        self.top, self.cache = os.environ["XTUN_TOP"], os.environ["XTUN_CACHE"]
        self.built = os.path.join(self.top, "build", os.environ["XTUN_K"])
        self.release = os.uname().release
        self.tree = f"/lib/modules/{self.release}"
        if not os.path.exists(f"{self.tree}/build/Makefile"):
            ktap.skip(f"there are no headers in {self.tree}/build")
        self._leave_few_modules()
        compiler, debian, self.root = self._builds_with()
        if self.root:
            self._mount()
        self._put_dkms(debian)
        self._put_compiler(compiler)
        self._put_checkout()
        # As the system's own depmod writes it.
        self.check(f"depmod {self.release}")
        self.before = self.files()

    def _leave_few_modules(self):
        """depmod reads every module, which takes it minutes."""
        folder = tempfile.mkdtemp()
        ktap.defer(shutil.rmtree, folder)
        for path in glob.glob(f"{self.tree}/*"):
            if not os.path.isdir(path) or os.path.islink(path):
                shutil.copy2(path, folder, follow_symlinks=False)
        for name in MODULES:
            for path in glob.glob(f"{self.tree}/kernel/{name}"):
                copy = folder + path[len(self.tree):]
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy2(path, copy)
        subprocess.run(["mount", "--bind", folder, self.tree], check=True)
        ktap.defer(subprocess.run, ["umount", "-l", self.tree], check=True)

    def _builds_with(self):
        """The kernel's compiler, the Debian that it runs in, and the root of that."""
        seen = subprocess.run(
            ["bash", "-c", ". ./selftests/vm/common.sh; kernel_compiler $0; if builds_here $0;"
             " then own_release; else echo trixie; echo $BUILD_ROOT; fi", os.environ["XTUN_K"]],
            cwd=self.top, capture_output=True, text=True, check=True)
        words = seen.stdout.split() + [""]
        return words[:3]

    def _mount(self):
        for folder in ("/proc", "/dev", self.top, self.cache, self.tree):
            os.makedirs(self.root + folder, exist_ok=True)
            subprocess.run(["mount", "--rbind", folder, self.root + folder], check=True)
            ktap.defer(subprocess.run, ["umount", "-l", self.root + folder], check=True)
        # What Debian has from the beginning.
        for folder in ("/tmp", "/usr/local/sbin", "/usr/local/share/man"):
            os.makedirs(self.root + folder, exist_ok=True)

    def _put_dkms(self, debian):
        folder = os.path.join(self.cache, "dkms", debian)
        if not os.path.isdir(folder):
            ktap.skip(f"there is no DKMS in {folder}")
        subprocess.run(["cp", "-a", f"{folder}/.", f"{self.root}/"], check=True)

    def _put_compiler(self, compiler):
        # A link to it has the short name.
        path = os.path.realpath(f"{self.root}/usr/bin/x86_64-linux-gnu-{compiler}")
        if not os.path.lexists(f"{self.root}/usr/bin/cc"):
            # What installing the package would do.
            os.symlink(os.path.basename(path), f"{self.root}/usr/bin/cc")
        os.rename(path, f"{path}.real")
        ktap.defer(os.rename, f"{path}.real", path)
        _write_program(path, COMPILER % {"objects": f"{self.built}/kmod",
                                         "compiler": f"{path[len(self.root):]}.real"})

    def _put_checkout(self):
        """The sources, and the tools that build.sh has made of them."""
        for name in SOURCES:
            path, copy = f"{self.top}/{name}", f"{self.root}{HOME}/{name}"
            if os.path.isdir(path):
                # What was built there is none of the sources.
                shutil.copytree(path, copy, ignore=shutil.ignore_patterns(
                    "*.o", "*.ko", "*.mod", "*.mod.c", ".*.cmd", "*.symvers", "modules.order"))
            else:
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy2(path, copy)
        subprocess.run(["cp", "-a", "--parents", "build/tools", f"{self.root}{HOME}"],
                       cwd=self.top, check=True)
        ktap.defer(shutil.rmtree, self.root + HOME)

    def run(self, command):
        """A command of root's, in the checkout; output is both of its outputs."""
        argv = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                "LC_ALL=C.UTF-8", "sh", "-c", f"cd {HOME} && {command}"]
        if self.root:
            argv[:0] = ["chroot", self.root]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False)

    def check(self, command):
        """A command that has to succeed; returns what it says."""
        seen = self.run(command)
        if seen.returncode:
            ktap.fail(f"{command}: exit {seen.returncode}: {seen.stdout[-3000:]}")
        return seen.stdout

    def fails(self, command):
        """A command that has to fail; returns what it says."""
        seen = self.run(command)
        ktap.true(seen.returncode, f"{command} fails; it said {seen.stdout[-1000:]}")
        return seen.stdout

    @contextlib.contextmanager
    def no_headers(self):
        """The kernel's headers are not installed."""
        os.rename(f"{self.tree}/build", f"{self.tree}/hidden")
        try:
            yield
        finally:
            os.rename(f"{self.tree}/hidden", f"{self.tree}/build")

    def files(self):
        """What there is in all places: of each path the size, or of an index all."""
        seen = {}
        for place in (*PLACES, self.tree):
            for folder, folders, names in os.walk(self.root + place):
                seen[folder] = "folder"
                for name in (*folders, *names):
                    path = os.path.join(folder, name)
                    seen[path] = self._state(path, name)
        return {path[len(self.root):]: state for path, state in seen.items()
                if path[len(self.root):] not in DKMS_OWN}

    def _state(self, path, name):
        if os.path.islink(path):
            return os.readlink(path)
        if os.path.isdir(path):
            return "folder"
        if name in ("modules.dep", "modules.alias", "modules.symbols"):
            with open(path, encoding="utf-8") as file:
                return sorted(file)
        # Written anew from these, with as many bytes to a node as its version likes.
        return "index" if name.endswith(".bin") else os.path.getsize(path)

    def nothing_left(self):
        ktap.eq(self.files(), self.before, "what is there beside what was there before")

    def installed(self):
        """Paths of the module, of which one at most is in use."""
        return [path[len(self.root):] for path in
                glob.glob(f"{self.root}{self.tree}/**/xtun.ko*", recursive=True)]

    def uninstall(self):
        """With all that make uninstall has to do without."""
        with self.no_headers():
            self.check("make uninstall")
        self.nothing_left()

    # -- use --

    def use(self):
        """The module and the tools that were installed, with none of the test's own."""
        self._load()
        with ktap.scope():
            path = net.path()
            words = "encap gre local 198.51.100.1 remote 192.0.2.1 key 7"
            self._installed_tools(net.Namespace("new"), words)
            path.tunnel("encap gre key 7")
            ktap.true(traffic.ping(path.a, path.b.v4), "a reply through the tunnel")
        # Its namespaces go a moment later.
        ktap.wait_for(lambda: not subprocess.run(
            ["modprobe", "-r", "xtun"], capture_output=True).returncode, "modprobe -r xtun")

    def _load(self):
        seen = subprocess.run(["modprobe", "xtun"], capture_output=True, text=True, check=False)
        ktap.eq((seen.returncode, seen.stderr), (0, ""), "modprobe xtun")

    def _installed_tools(self, ns, words):
        plugins = f"{self.root}/usr/lib/x86_64-linux-gnu/ip"
        # Without the variable ip looks where the system has its plug-ins.
        env = ["env", f"IP_LIB_DIR={plugins}"] if self.root else ["env", "-u", "IP_LIB_DIR"]
        ns.check(*env, "ip", "link", "add", "one", "type", "xtun", *words.split())
        tunctl = f"{self.root}/usr/local/sbin/tunctl"
        ns.check(tunctl, "add", "two", *words.replace("key 7", "key 8").split())
        ktap.eq(ns.check(tunctl, "show").splitlines(),
                [f"{name} {words.replace('gre', 'gre payload ip')[:-1]}{key}"
                 for name, key in (("one", 7), ("two", 8))], "tunctl show")
        ktap.contains(ns.check(*env, "ip", "-d", "link", "show", "one"), "remote 192.0.2.1 key 7",
                      "ip -d link show")


def setup():
    net.need_root()
    if not os.path.isdir("/run/xtun-vm"):
        ktap.skip("not in a virtual machine: it installs things")
    return System()


@ktap.case("make install: modprobe, ip and tunctl find all; make uninstall leaves nothing")
def install(system):
    system.check("make && make install")
    ktap.eq([path.partition(".ko")[0] for path in system.installed()],
            [f"{system.tree}/extra/xtun"], "the module")
    size = os.path.getsize(system.root + system.installed()[0])
    ktap.true(size < MODULE_LIMIT, f"the module has {size} bytes, without what debuggers want")
    system.use()
    system.uninstall()


@ktap.case("make install DESTDIR=FOLDER touches nothing else, nor does make uninstall")
def destdir(system):
    folder = f"{HOME}/there"
    system.check(f"make install DESTDIR={folder}")
    ktap.true(glob.glob(f"{system.root}{folder}{system.tree}/extra/xtun.ko*"),
              "the module is there")
    system.nothing_left()
    with system.no_headers():
        system.check(f"make uninstall DESTDIR={folder}")
    ktap.eq([path for path in glob.glob(f"{system.root}{folder}/**/*xtun*", recursive=True)], [],
            "left in the folder")


@ktap.case("make dkms without headers says what to install, and leaves nothing")
def dkms_without_headers(system):
    with system.no_headers():
        said = system.fails("make dkms")
    ktap.contains(said, "linux-headers-", "what it says")
    system.nothing_left()


@ktap.case("make dkms of what cannot be compiled says why, and leaves nothing")
def dkms_of_broken(system):
    path = f"{system.root}{HOME}/kmod/main.c"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    ktap.defer(_write, path, text)
    _write(path, text + "#error this cannot be compiled\n")
    said = system.fails("make dkms")
    ktap.contains(said, "this cannot be compiled", "what it says")
    system.nothing_left()


@ktap.case("make uninstall removes what a make dkms that was interrupted has left")
def half_made(system):
    copy = f"{system.root}/usr/src/xtun-0.0"
    shutil.copytree(f"{system.root}{HOME}/kmod", f"{copy}/kmod")
    with open(f"{system.root}{HOME}/dkms.conf", encoding="utf-8") as file:
        _write(f"{copy}/dkms.conf", file.read().replace("#MODULE_VERSION#", "0.0"))
    system.check("dkms add -m xtun -v 0.0")
    system.uninstall()


@ktap.case("make dkms: DKMS has it and modprobe takes it; make uninstall leaves nothing")
def dkms(system):
    system.check("make dkms")
    status = system.check("dkms status -m xtun")
    ktap.diag(status)
    # Its readelf may warn of the module's sections.
    ktap.true(re.search(rf"^xtun/[0-9.]+, {re.escape(system.release)}, x86_64: installed",
                        status, re.M), f"installed: {status}")
    ktap.eq([path.partition(".ko")[0] for path in system.installed()],
            [f"{system.tree}/updates/dkms/xtun"], "the module")
    copied(system)
    system.check("make -C tools install")
    system.use()
    system.uninstall()


def copied(system):
    """DKMS's own copy has every header that the module is compiled from, and only sources."""
    copies = glob.glob(f"{system.root}/usr/src/xtun-*")
    ktap.eq(len(copies), 1, "copies")
    needed = set()
    for path in glob.glob(f"{system.built}/kmod/**/.*.o.cmd", recursive=True):
        with open(path, encoding="utf-8") as file:
            for line in file:
                # Relative to the folder of the module or to that of the headers.
                name = os.path.normpath(os.path.join(system.built, "kmod", line.strip(" \\\n")))
                if os.path.exists(name.replace(system.built, system.top, 1)):
                    needed.add(os.path.relpath(name, system.built))
    needed = {name for name in needed if re.match(r"(kmod|uapi)/.*\.[ch]$", name)}
    ktap.true(len(needed) > 15, f"the headers that it is compiled from: {len(needed)}")
    ktap.eq([name for name in sorted(needed) if not os.path.exists(f"{copies[0]}/{name}")], [],
            "not copied")
    built = [path for path in glob.glob(f"{copies[0]}/**", recursive=True)
             if path.endswith((".o", ".ko", ".mod", ".mod.c"))]
    ktap.eq(built, [], "copied, and no source")


def _write_program(path, text):
    _write(path, text)
    os.chmod(path, 0o755)


def _write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


ktap.main(setup)
