# SPDX-License-Identifier: GPL-2.0
"""What the tests of xtun share.

A test file is one behaviour, an executable program of this shape:

    #!/usr/bin/env python3
    # SPDX-License-Identifier: GPL-2.0
    # What breaks when this fails, in a line or two.
    from lib import ktap, net, traffic

    def setup():
        net.load_module()
        hosts = net.two()                       # namespaces hosts.a, hosts.b
        for near, far, inner in ((hosts.a, hosts.b, "10.9.0.1/24"),
                                 (hosts.b, hosts.a, "10.9.0.2/24")):
            near.tunnel("t0", f"encap gre local {near.v4} remote {far.v4}", inner)
        return hosts

    @ktap.table("{0} bytes come back", [56, 1400])
    def echo(hosts, size):
        ktap.true(traffic.ping(hosts.a, "10.9.0.2", size=size), "a reply")

    ktap.main(setup)

ktap      plan, subtests, tables, expectations, cleanup
net       modules, namespaces, topologies, counters
traffic   ping, UDP and TCP between namespaces, as sockets of this process
bed       tunnels of one host whose far ends are the test itself
errors    ICMP errors about outer packets, and what inner senders are told
trouble   routers that make ICMP errors, and sockets that have to be told of them
capture   frames off a device; tshark's opinion of them
pkt       packets made and taken apart with scapy; checksums of our own
ynl       the netlink family in the hands of the kernel tree's own client

`./file.py WORD...` runs the subtests whose description has one of the words,
`./file.py -l` lists them, KTAP_TIMES=1 tells how long each took.
"""
