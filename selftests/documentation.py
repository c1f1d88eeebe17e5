#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# The commands of the documentation are taken as they stand there: of README, the pages
# and the man pages, each example that makes, changes or shows tunnels, and the commands
# of the kernel's own drivers beside them.
#
# An example is a block of commands, run one after the other in a namespace with the
# documentation's addresses.  A block that makes the same device several times has
# variants: each is run by itself.  What a command is shown to answer is looked at where
# it is a refusal or the line of a tunnel.
import collections
import glob
import os
import re
import shlex
import shutil
import subprocess

from lib import ktap, net

TOP = os.environ.get("XTUN_TOP", os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
YNL = os.path.join(os.environ.get("XTUN_CACHE", "/nonexistent"), "source/6.12/tools/net/ynl/cli.py")

# Only here a command needs no prompt before it.
UNPROMPTED = ("ip", "tunctl", "ethtool", "modprobe", "sysctl")
# What is about the module and is tried elsewhere, or does not end.
NOT_RUN = ("make", "modprobe xtun", "modprobe -a", "insmod", "cat", "tunctl monitor")
# A page about the tests.
NOT_READ = "testing.rst"

# Devices and namespaces that examples take for granted.
DEVICES = {
    "tun1": "encap gre remote 198.51.100.1 key 7",
    "t0": "encap gre local 192.0.2.1 remote 198.51.100.1 key 7",
    "6in4": "encap ip local 198.18.1.1 remote 198.18.2.1",
    "gre7": "encap gre local 198.18.1.1 remote 198.18.3.1 key 7",
}
NAMESPACES = ("red", "other")

# line: where it stands; answer: the lines below it, as one with single spaces.
Command = collections.namedtuple("Command", "line text answer")


# ---- reading ----

def literal_blocks(lines):
    """Of a page in reStructuredText: blocks of (number, line), without their indent."""
    block, inside = [], False
    for number, line in enumerate(lines, 1):
        if inside and (line.startswith(" ") or not line):
            block.append((number, line))
            continue
        if block:
            yield dedented(block)
        block, inside = [], line.endswith("::")
    if block:
        yield dedented(block)


def indented_blocks(lines):
    """Of README: what is indented, until a line that is not."""
    block = []
    for number, line in enumerate([*lines, "end"], 1):
        if line.startswith("    "):
            block.append((number, line))
        elif line and block:
            yield dedented(block)
            block = []


def man_blocks(lines):
    """Of a man page: what is between .EX and .EE."""
    block = None
    for number, line in enumerate(lines, 1):
        if line == ".EX":
            block = []
        elif line == ".EE":
            yield block
            block = None
        elif block is not None:
            block.append((number, line.replace("\\-", "-").replace("\\e", "\\")))


def dedented(block):
    indent = min((len(line) - len(line.lstrip()) for _, line in block if line), default=0)
    return [(number, line[indent:]) for number, line in block]


def commands(block, prompted):
    """The commands of a block."""
    found, answer, lines = [], [], iter(block)
    for number, line in lines:
        text = command_text(line, prompted)
        if text is None:
            answer.append(line)
            continue
        while incomplete(text):
            text = text.removesuffix("\\").rstrip() + " " + next(lines)[1].strip()
        answer = []
        found.append((number, text, answer))
    return [Command(number, text, one_line(answer)) for number, text, answer in found]


def command_text(line, prompted):
    """What a line of a block says that is a command; or None."""
    if match := re.match(r"(?:\w+ +)?# (.*)", line):
        return match[1]
    if prompted or line.split(" ")[0] not in UNPROMPTED:
        return None
    # Three spaces, and what it does.
    return re.sub(r"(\S) {3,}(?=[^\\# ]).*", r"\1", line)


def incomplete(text):
    return text.endswith("\\") or text.count("'") % 2


def one_line(lines):
    return " ".join(" ".join(lines).replace("\\", " ").split())


def pages():
    """Name, blocks, and whether a command has a prompt, of each page."""
    for path in [f"{TOP}/README", *sorted(glob.glob(f"{TOP}/Documentation/*.rst")),
                 *sorted(glob.glob(f"{TOP}/Documentation/man/*.8"))]:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        name = os.path.basename(path)
        if name == NOT_READ:
            continue
        if name == "README":
            yield name, indented_blocks(lines), True
        elif name.endswith(".rst"):
            yield name, literal_blocks(lines), False
        else:
            yield name, man_blocks(lines), False


def inline(lines):
    """Commands within the text of a page that name a device."""
    text = "\n".join(lines)
    for match in re.finditer(r"``((?:ip|tunctl|bridge|ethtool) [^`]*)``", text):
        command = " ".join(match[1].split())
        # A word in capitals stands for something.
        if names_in(command) and not re.search(r"\.\.\.|\b[A-Z]+\b", command):
            yield Command(text.count("\n", 0, match.start()) + 1, command, "")


# ---- examples ----

def made_by(text):
    """The name of the device that a command makes; or None."""
    match = (re.match(r"ip (?:link|tunnel) add (?:name )?(\S+) (?:type|mode)", text) or
             re.match(r"ip l2tp add session name (\S+)", text) or
             re.match(r"tunctl add (\S+)", text) or
             re.search(r"--do new .*\"ifname\": \"(\w+)\"", text))
    return match and match[1]


def names_in(text):
    return [name for name in DEVICES if re.search(rf"(?<![\w/-]){name}(?![\w.-])", text)]


def variants(block):
    """A block's commands, once for each time that it makes the same device."""
    names = [made_by(command.text) for command in block if made_by(command.text)]
    if len(names) == len(set(names)):
        return [block]
    found, rest, both = [], [], []
    closed = False
    for command in block:
        if "# both" in command.text:
            closed = True
            for variant in both:
                variant.append(command)
            continue
        if closed:
            both, closed = [], False
        rest.append(command)
        if made_by(command.text):
            found.append(rest)
            both.append(rest)
            rest = []
    found[-1].extend(rest)
    return found


def examples():
    """(page, commands) of all that is run."""
    for page, blocks, prompted in pages():
        for block in blocks:
            found = [command for command in commands(block, prompted)
                     if not re.match(rf"(?:{'|'.join(NOT_RUN)})\b", command.text)]
            for variant in variants(found):
                if variant:
                    yield page, variant
    for path in sorted(glob.glob(f"{TOP}/Documentation/*.rst")):
        with open(path, encoding="utf-8") as file:
            for command in inline(file.read().splitlines()):
                yield os.path.basename(path), [command]


def rows():
    found = []
    for page, block in examples():
        first = next((command for command in block if made_by(command.text)), block[0])
        more = f" and {len(block) - 1} more" if len(block) > 1 else ""
        found.append((f"{page}:{first.line}: {first.text[:100]}{more}", block))
    return found


ROWS = rows()


# ---- running ----

def host(block):
    """A host with the addresses that the documentation gives it, and a way out.

    Some commands are for the far end.
    """
    ns = net.Namespace("host")
    far = any("local 198.51.100.1" in command.text for command in block)
    ns.ip("link add under0 type dummy", "link set under0 up",
          *(f"addr add {address} dev under0" for address in (
              f"{'198.51.100' if far else '192.0.2'}.1/24", "198.18.1.1/24", "2001:db8::1/64")),
          "route add default via 198.18.1.254", "route add default via 2001:db8::fe")
    return ns


def named_namespaces(text):
    """Those that an example needs, by the names that they have there, until the end."""
    for name in NAMESPACES:
        ktap.defer(remove_namespace, name)
        if re.search(rf"(?:-n|netns) {name}\b", text) and f"netns add {name}" not in text:
            subprocess.run(["ip", "netns", "add", name], check=True)


def remove_namespace(name):
    if os.path.exists(f"{net.NETNS_DIR}/{name}"):
        subprocess.run(["ip", "netns", "delete", name], check=True)


def prepare(ns, block):
    """What the block takes for granted, and does not make itself."""
    text = " ".join(f"{command.text} {command.answer}" for command in block)
    made = {made_by(command.text) for command in block}
    # Who copies tunnels has some.
    for name in names_in(text) or (DEVICES if "tunctl show" in text else ()):
        if name not in made:
            ns.check("tunctl", "add", name, *DEVICES[name].split(),
                     *(["payload", "eth"] if "bridge " in text else []))
            ns.ip(f"link set {name} up")
    if "bridge " in text:
        ns.ip("link add br0 type bridge", "link set tun1 master br0")
    named_namespaces(text)


def run(ns, command):
    """One command, by the shell as a user has it."""
    text = command.text
    if "jq" in text and not shutil.which("jq"):
        text = text.partition("|")[0]
    if "$YNL" in text and not os.path.exists(YNL):
        ktap.skip("there is no YNL here")
    return ns.run("env", f"YNL={YNL}", "sh", "-c", f"cd {shlex.quote(TOP)} && {text}")


def judge(command, seen):
    said = one_line([*seen.stdout.splitlines(), *seen.stderr.splitlines()])
    what = f"{command.text}: exit {seen.returncode}: {said}"
    if refusal := re.match(r"(?:tunctl: .*|Netlink error.*extack: {'msg': '([^']*)')",
                           command.answer):
        ktap.true(seen.returncode, f"refused: {what}")
        ktap.contains(said, refusal[1] or refusal[0], command.text)
        return
    # tunctl explain has an exit status of its own where it finds something.
    allowed = (0, 4) if "explain" in command.text else (0,)
    ktap.true(seen.returncode in allowed, what)
    if re.match(r"tunctl (-d )?show\b", command.text) and command.answer:
        ktap.eq(said, command.answer, command.text)


@ktap.table("{0}", ROWS)
def example(_, title, block):
    ns = host(block)
    prepare(ns, block)
    for command in block:
        judge(command, run(ns, command))


# How many there are at least: whoever writes them in another form is told by this.
@ktap.case("The examples are found: of every page with commands, and every driver beside xtun")
def found(_):
    text = "\n".join(command.text for _, block in ROWS for command in block)
    seen = collections.Counter(title.partition(":")[0] for title, _ in ROWS)
    for page, least in (("README", 1), ("drops.rst", 1), ("encapsulations.rst", 12),
                        ("ip-link-xtun.8", 1), ("migration.rst", 28), ("mtu.rst", 1),
                        ("netlink.rst", 2), ("tunctl.8", 3), ("tunctl.rst", 7), ("xtun.rst", 2)):
        ktap.true(seen[page] >= least, f"{page} has {least} examples or more: {seen[page]}")
    for kind in ("ipip", "sit", "ip6tnl", "gre", "ip6gre", "gretap", "ip6gretap", "vxlan",
                 "geneve"):
        ktap.contains(text, f"type {kind} ", "the examples")


def setup():
    if not os.path.isdir(f"{TOP}/Documentation"):
        ktap.skip("there is no documentation here")
    net.load_module()


ktap.main(setup)
