#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# IPsec policies and routing rules see outer packets as they are: selectors by
# protocol, key, ports and ICMP type hold for every encapsulation, both ways, and
# for each packet where they differ.
import contextlib
import errno
import struct

from lib import ktap, net, pkt, rawnl
from lib.bed import Bed

FAMILIES = ("v4", "v6")
PORT = 4789
TYPES = {"v4": (1, 8, 0), "v6": (58, 128, 129)}     # ICMP: protocol, request, reply

# Words; the selector of its outer packets as ip(8) has it, and one beside it.
SELECTORS = {
    "encap gre key 7": ("proto gre key 7", "proto gre key 8"),
    "encap gre key 0x12345": ("proto gre key 74565", "proto gre key 9029"),
    "encap gre": ("proto gre", "proto 115"),
    "encap vxlan key 7": (f"proto udp dport {PORT}", "proto udp dport 4790"),
    "encap vxlan key 8 sport 5000": ("proto udp sport 5000", "proto udp sport 5001"),
    "encap fou dport 5555": ("proto udp dport 5555", "proto udp dport 5556"),
    "encap gtp key 7": ("proto udp dport 2152", "proto udp dport 2153"),
    "encap l2tp key 7": ("proto udp sport 1701 dport 1701", "proto udp sport 1702 dport 1701"),
    "encap l2tp-ip key 7": ("proto 115", "proto gre"),
    "encap icmp key 7 echo request": ("proto ICMP type REQUEST", "proto ICMP type REPLY"),
}


def setup():
    return Bed()


def selector(text, family):
    proto, request, reply = TYPES[family]
    return text.replace("ICMP", str(proto)).replace("REQUEST", str(request)).replace(
        "REPLY", str(reply))


def policy(tunnel, direction, selects):
    """Packets between the ends that this selects are to be dropped."""
    ends = (tunnel.local, tunnel.remote)
    src, dst = ends if direction == "out" else reversed(ends)
    return net.blocked(tunnel.ns, f"src {src} dst {dst} {selector(selects, tunnel.family)} "
                                  f"dir {direction}")


def inner(tunnel, kind="v4", **words):
    return pkt.inner(f"eth-{kind}" if tunnel.eth else kind, **words)


@ktap.table("{0} over {1}: a policy for {2} stops its packets, one for {3} does not", [
    (words, family, *SELECTORS[words]) for words in SELECTORS for family in FAMILIES])
def out(bed, words, family, selects, beside):
    tunnel = bed.tunnel(words, family)
    ktap.true(tunnel.out(inner(tunnel)), "sent without a policy")
    with policy(tunnel, "out", beside):
        ktap.true(tunnel.out(inner(tunnel)), "sent, as the policy is for others")
    with policy(tunnel, "out", selects):
        with tunnel.ns.moves(tunnel.dev, tx_filtered=1):
            tunnel.push(inner(tunnel))
    ktap.true(tunnel.out(inner(tunnel)), "sent again")


@ktap.table("{0} over {1}: a policy that asks for an SA which is not there stops packets", [
    (words, family) for words in ("encap gre key 7", "encap vxlan key 7") for family in FAMILIES])
def no_sa(bed, words, family):
    tunnel = bed.tunnel(words, family)
    ends = f"src {tunnel.local} dst {tunnel.remote}"
    tunnel.ns.ip(f"xfrm policy add {ends} dir out tmpl {ends} proto esp mode transport")
    ktap.defer(tunnel.ns.ip, f"xfrm policy del {ends} dir out")
    with tunnel.ns.moves(tunnel.dev, tx_filtered=1):
        tunnel.push(inner(tunnel))
    path = tunnel.ns.tunctl("path", tunnel.dev)[0]["path"]
    ktap.eq(path.get("error"), errno.EREMOTE, "why there is no route")
    ktap.true("link-name" not in path, "no device is told for one")


@ktap.table("{0} over {1}: what comes in, likewise", [
    (words, family) for words in ("encap gre key 7", "encap gre") for family in FAMILIES])
def into(bed, words, family):
    tunnel = bed.tunnel(words, family)
    selects, beside = SELECTORS[words]
    key = 7 if "key" in words else None
    outer = tunnel.outer(pkt.gre("v4", pkt.inner("v4"), key=key), pkt.GRE_PROTO)
    ktap.eq(tunnel.into(outer), pkt.inner("v4"), "delivered without a policy")
    with policy(tunnel, "in", beside):
        ktap.eq(tunnel.into(outer), pkt.inner("v4"), "delivered, as the policy is for others")
    with policy(tunnel, "in", selects), tunnel.ns.moves(tunnel.dev, rx_policy=1):
        tunnel.peer.send(outer)


def source_port(outer):
    return int.from_bytes(outer[pkt.outer_fields(outer)["header"]:][:2], "big")


def two_flows(tunnel):
    """Inner packets of two flows, and the outer source ports of these."""
    seen = {}
    for port in pkt.PORTS:
        packet = inner(tunnel, sport=port)
        seen.setdefault(source_port(tunnel.out(packet)), packet)
        if len(seen) == 2:
            return [(port, packet) for port, packet in seen.items()]
    return ktap.fail("all flows have one source port")


@ktap.table("{0} over {1}: a policy for one source port stops one flow", [
    (words, family) for words in ("encap vxlan key 7", "encap geneve payload ip key 7",
                                  "encap gue payload ip") for family in FAMILIES])
def one_flow(bed, words, family):
    tunnel = bed.tunnel(words, family)
    (port, stopped), (_, other) = two_flows(tunnel)
    with policy(tunnel, "out", f"proto udp sport {port}"):
        with tunnel.ns.moves(tunnel.dev, tx_filtered=1):
            tunnel.push(stopped)
        ktap.true(tunnel.out(other), "the other flow is sent")
    ktap.true(tunnel.out(stopped), "sent again")


@ktap.table("encap ip over {0}: a policy for protocol {2} stops inner IP{1} alone", [
    (family, kind, proto) for family in FAMILIES for kind, proto in (("v4", 4), ("v6", 41))])
def by_payload(bed, family, kind, proto):
    tunnel = bed.tunnel("encap ip", family)
    other = FAMILIES[kind == "v4"]
    ktap.true(tunnel.out(pkt.inner(other)), "sent without a policy")
    with policy(tunnel, "out", f"proto {proto}"):
        ktap.true(tunnel.out(pkt.inner(other)), "the other is sent")
        with tunnel.ns.moves(tunnel.dev, tx_filtered=1):
            tunnel.push(pkt.inner(kind))


@ktap.table("encap geneve over {0}: a policy for the source that NAT gives stops packets, "
            "also after a forged packet-too-big", FAMILIES)
def after_nat(bed, family):
    tunnel = bed.tunnel("encap geneve payload ip key 8", family)
    ns, given = tunnel.ns, {"v4": "192.0.2.9", "v6": "2001:db8::9"}[family]
    table, block = f"{'ip' if family == 'v4' else 'ip6'} nat", f"src {given} dst {tunnel.remote}"
    ns.check("nft", f"""table {table} {{
        chain post {{
            type nat hook postrouting priority 100;
            {table.split()[0]} daddr {tunnel.remote} snat to {given}
        }}
    }}""")
    ktap.defer(ns.check, "nft", f"delete table {table}")
    large = inner(tunnel, data=bytes(1300))

    def sent():
        """The source of what comes of the packet."""
        bed.peer.drain()
        tunnel.push(large)
        outer = bed.peer.recv(lambda packet: pkt.outer_fields(packet)["dst"] == tunnel.remote)
        return pkt.outer_fields(outer)["src"]
    ktap.eq(sent(), given, "source without a policy")
    # About an echo reply, whom nobody asks whether it was sent: the tunnel learns nothing.
    kind, code, mtu, reply = {"v4": (3, 4, 600, 0), "v6": (2, 0, 1280, 129)}[family]
    quote = pkt.icmp(family, tunnel.local, tunnel.remote, reply, 0)
    tunnel.peer.send(pkt.icmp(family, tunnel.remote, tunnel.local, kind, code, mtu, quote))
    ktap.defer(ns.ip, "-4 route flush cache", "-6 route flush cache")
    ktap.wait_for(lambda: ns.path_mtu(tunnel.remote) == mtu, "the kernel's path MTU")
    with net.blocked(ns, f"{block} dir out"), ns.moves(tunnel.dev, tx_filtered=1):
        tunnel.push(large)
    ktap.eq(sent(), given, "source when the policy has gone")


# ---- rules ----

@contextlib.contextmanager
def rule(tunnel, words):
    """Packets to the peer of which this is true have no route."""
    line = f"{words} to {tunnel.remote} prohibit"
    option = f"-{tunnel.family[1]}"
    tunnel.ns.check("ip", option, "rule", "add", *line.split(), "pref", "50")
    try:
        yield
    finally:
        tunnel.ns.check("ip", option, "rule", "del", *line.split(), "pref", "50")


@ktap.table("{0} over {1}: ip rule {2} stops its packets, {3} does not", [
    (words, family, *rules) for family in FAMILIES for words, *rules in (
        ("encap gre key 7", "ipproto gre", "ipproto udp"),
        ("encap vxlan key 7", f"ipproto udp dport {PORT}", "ipproto udp dport 4790"),
        ("encap l2tp key 7", "ipproto udp sport 1701", "ipproto udp sport 1702"))])
def rules(bed, words, family, stops, beside):
    tunnel = bed.tunnel(words, family)
    with rule(tunnel, beside):
        ktap.true(tunnel.out(inner(tunnel)), "sent, as the rule is for others")
    with rule(tunnel, stops), tunnel.ns.moves(tunnel.dev, tx_no_route=1):
        tunnel.push(inner(tunnel))
    ktap.true(tunnel.out(inner(tunnel)), "sent again")


@ktap.table("encap vxlan over {0}: a rule for one source port stops one flow", FAMILIES)
def rule_of_flow(bed, family):
    tunnel = bed.tunnel("encap vxlan key 7", family)
    (port, stopped), (_, other) = two_flows(tunnel)
    with rule(tunnel, f"ipproto udp sport {port}"):
        with tunnel.ns.moves(tunnel.dev, tx_no_route=1):
            tunnel.push(stopped)
        ktap.true(tunnel.out(other), "the other flow is sent")


# From linux/fib_rules.h and rtnetlink.h: ip(8) of Debian 12 has no word for it.
RTM_NEWRULE, RTM_DELRULE, FRA_DST, FRA_PRIORITY, FRA_DSCP, FR_ACT_PROHIBIT = 32, 33, 1, 6, 25, 8


def dscp_rule(tunnel, message, dscp):
    """Adds, or deletes, a rule for a DSCP of six bits."""
    dst = net.packed(tunnel.remote)
    body = struct.pack("=8BI", net.family_of(tunnel.remote), len(dst) * 8, 0, 0, 0, 0, 0,
                       FR_ACT_PROHIBIT, 0)
    body += rawnl.attr(FRA_DST, dst) + rawnl.u32(FRA_PRIORITY, 50) + rawnl.u8(FRA_DSCP, dscp)
    flags = rawnl.NLM_F_CREATE | rawnl.NLM_F_EXCL if message == RTM_NEWRULE else 0
    return rawnl.Raw(tunnel.ns).ask(message, body, flags).errno


@ktap.table("encap gre {1} over {0}: a rule for DSCP {2:#x} stops packets that have it", [
    (family, words, dscp) for family in FAMILIES for dscp in (0x2e, 0x2b)
    for words in ("tos inherit", f"tos {dscp << 2:#x}")])
def by_dscp(bed, family, words, dscp):
    if net.kernel_before(6, 12):
        ktap.skip("its rules know only some bits of the TOS")
    tunnel = bed.tunnel(f"encap gre key 9 {words}", family)
    marked, other = pkt.inner("v4", tos=dscp << 2), pkt.inner("v4", tos=0x28)
    ktap.eq(dscp_rule(tunnel, RTM_NEWRULE, dscp), 0, "errno of the new rule")
    try:
        with tunnel.ns.moves(tunnel.dev, tx_no_route=1):
            tunnel.push(marked)
        if "inherit" in words:
            ktap.true(tunnel.out(other), "another DSCP is sent")
    finally:
        ktap.eq(dscp_rule(tunnel, RTM_DELRULE, dscp), 0, "errno when it goes")
    ktap.true(tunnel.out(marked), "sent again")


# ---- fragments ----

PAYLOAD_IP = [(words, family) for words in ("encap geneve payload ip key 9 mtu 3000",
                                            "encap gue payload ip mtu 3000")
              for family in FAMILIES]


def fragments_port(tunnel, large):
    """The outer source port of a packet's two fragments, which the flow's others have not."""
    ports = {source_port(tunnel.out(large)), source_port(tunnel.next())}
    ktap.eq(len(ports), 1, "source ports of fragments")
    ktap.true(source_port(tunnel.out(inner(tunnel))) not in ports, "another one of the flow")
    return ports.pop()


@ktap.table("{0} over {1}: an IPsec policy, and a rule, for fragments' source port stop them", PAYLOAD_IP)
def fragments(bed, words, family):
    tunnel = bed.tunnel(words, family)
    large = inner(tunnel, data=bytes(2000))
    port = fragments_port(tunnel, large)
    for stops, counter in (
            (lambda port: policy(tunnel, "out", f"proto udp sport {port}"), "tx_filtered"),
            (lambda port: rule(tunnel, f"ipproto udp sport {port}"), "tx_no_route")):
        with stops(port):
            with tunnel.ns.moves(tunnel.dev, **{counter: 2}):
                tunnel.push(large)
            ktap.true(tunnel.out(inner(tunnel)), "the flow's other packets are sent")
        ktap.eq(source_port(tunnel.out(large)), port, "source port of what is sent again")


@ktap.table("{0} over {1}: fragments take the table that a rule has for their source port", PAYLOAD_IP)
def fragments_table(bed, words, family):
    tunnel, second = bed.tunnel(words, family), bed.second_link()
    large = inner(tunnel, data=bytes(2000))
    port = fragments_port(tunnel, large)
    route = f"{tunnel.remote} dev under1 table 100"
    tunnel.ns.ip(second.neighbour_line(tunnel.remote), f"route add {route}")
    ktap.defer(tunnel.ns.ip, f"route del {route}")
    net.rule(tunnel.ns, family, f"ipproto udp sport {port} table 100")
    bed.peer.drain()
    second.drain()
    tunnel.push(large)
    for _ in range(2):
        ktap.eq(source_port(second.recv(tunnel.is_mine)), port, "source port on the other link")
    tunnel.push(inner(tunnel))
    ktap.true(source_port(tunnel.next()) != port, "what comes first on the link is the flow's")


ktap.main(setup)
