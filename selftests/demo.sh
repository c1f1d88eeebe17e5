#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows what xtun does, on real traffic, in a virtual machine: "make demo" runs
# it there.  Each command is printed before it runs; each result is checked.
# The last line is "demo: all steps worked", or the status is 1 and the last
# line says what did not work.
#
#	         a                b                c		three hosts
#	         |                |                |
#	         +------------ router -------------+		the underlay
#
# Host a is 198.18.1.1 and 2001:db8:1::1, b has a 2 there and c a 3; the router
# ends in 254 and in ::fe.

set -u -o pipefail

NUMBER=0
FILES=/tmp/demo
PORT=5001
SIZE=16		# megabytes sent while the path narrows
RATE=4		# megabytes a second: the path narrows while they are on their way

fail()
{
	echo
	echo "demo: failed: $*"
	exit 1
}

title()
{
	NUMBER=$((NUMBER + 1))
	printf '\n== %s. %s\n\n' "$NUMBER" "$*"
}

text()
{
	echo "$*" | fold -s -w 78 | sed 's/ *$//'
}

# What is typed, as if it were: without the path of the checkout.
show()
{
	local words="$*"

	printf '  # %s\n' "${words//$XTUN_KO/xtun.ko}"
}

# run COMMAND...: show it and what it says; it has to succeed.
run()
{
	show "$@"
	SAID=$("$@" 2>&1) || fail "'$*' failed: $SAID"
	[ -z "$SAID" ] || printf '%s\n' "$SAID" | sed 's/^/  /; s/[[:space:]]*$//'
}

# expect WORDS: what the last command said has them.
expect()
{
	[[ $SAID == *"$1"* ]] || fail "the answer should have '$1' in it"
}

# quiet COMMAND...: what is not worth showing.
quiet()
{
	SAID=$("$@" 2>&1) || fail "'$*' failed: $SAID"
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds.
wait_for()
{
	local end=$((SECONDS + $1)) what=$2
	shift 2

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "waited in vain for $what"
		sleep 0.1
	done
}

ping_from()
{
	local host=$1 address=$2

	run ip netns exec "$host" ping -q -c 3 -i 0.2 -W 10 "$address"
	expect " 0% packet loss"
}

require_guest()
{
	if [ "$(hostname)" != xtun-vm ] || [ -z "${XTUN_KO:-}" ]; then
		echo "demo.sh: this loads a kernel module: run it with 'make demo', in a virtual machine" >&2
		exit 1
	fi
	[ -e "$XTUN_KO" ] || fail "there is no module: selftests/vm/build.sh 6.1 builds it"
}

load()
{
	local driver

	title "The module, beside the tunnel drivers of the kernel"
	run uname -r
	for driver in ipip sit ip6_tunnel ip_gre ip6_gre; do
		run modprobe "$driver"
	done
	text "insmod loads nothing that a module stands on. xtun needs tunnel4 and" \
	     "tunnel6, which are there now, and three more:"
	run modprobe -a nf_defrag_ipv6 udp_tunnel ip6_udp_tunnel
	run insmod "$XTUN_KO"
	show "lsmod"
	lsmod | awk '$1 ~ /^(ipip|sit|ip6_tunnel|ip_gre|ip6_gre|xtun)$/ { print "  " $1 }'
	lsmod | grep -q '^xtun ' || fail "xtun is not among the modules"
}

network()
{
	local host n

	title "Three hosts, and a router between them that knows of no tunnel"
	cat <<-'END'
	       host a                  host b                  host c
	   198.18.1.1              198.18.2.1              198.18.3.1
	   2001:db8:1::1           2001:db8:2::1           2001:db8:3::1
	        |                       |                       |
	        +-------------------- router -------------------+

	   a and b    6in4    IPv6 in IPv4       fd00:12::1    fd00:12::2
	   b and c    4in6    IPv4 in IPv6       10.0.23.2     10.0.23.3
	   a and c    gre     GRE with a key     10.0.13.1     10.0.13.3
	END
	quiet ip netns add router
	quiet ip netns exec router sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	n=0
	for host in a b c; do
		n=$((n + 1))
		quiet ip netns add "$host"
		# Neither probes for duplicates nor addresses by themselves: what
		# is counted below is what the demo sends.
		quiet ip netns exec "$host" sysctl -q net.ipv6.conf.all.accept_dad=0 \
			net.ipv6.conf.default.accept_dad=0 \
			net.ipv6.conf.default.addr_gen_mode=1 \
			net.ipv6.conf.default.router_solicitations=0
		quiet ip link add up0 netns "$host" type veth peer name "to-$host" netns router
		ip -n "$host" -batch - <<-END || fail "the network could not be made"
			link set lo up
			link set up0 up
			addr add 198.18.$n.1/24 dev up0
			addr add 2001:db8:$n::1/64 dev up0 nodad
			route add default via 198.18.$n.254
			route add default via 2001:db8:$n::fe
		END
		ip -n router -batch - <<-END || fail "the network could not be made"
			link set to-$host up
			addr add 198.18.$n.254/24 dev to-$host
			addr add 2001:db8:$n::fe/64 dev to-$host nodad
		END
	done
}

tunnels()
{
	title "Tunnels, made with the ip command of the distribution"
	text "6in4: IPv6 for b, where the network between has IPv4."
	run ip -n a link add 6in4 type xtun encap ip local 198.18.1.1 remote 198.18.2.1
	run ip -n b link add 6in4 type xtun encap ip local 198.18.2.1 remote 198.18.1.1
	run ip -n a addr add fd00:12::1/64 dev 6in4 nodad
	run ip -n b addr add fd00:12::2/64 dev 6in4 nodad
	run ip -n a link set 6in4 up
	run ip -n b link set 6in4 up
	ping_from a fd00:12::2

	echo
	text "4in6: the same encapsulation and the other way round."
	run ip -n b link add 4in6 type xtun encap ip local 2001:db8:2::1 remote 2001:db8:3::1
	run ip -n c link add 4in6 type xtun encap ip local 2001:db8:3::1 remote 2001:db8:2::1
	run ip -n b addr add 10.0.23.2/24 dev 4in6
	run ip -n c addr add 10.0.23.3/24 dev 4in6
	run ip -n b link set 4in6 up
	run ip -n c link set 4in6 up
	ping_from b 10.0.23.3

	echo
	text "GRE with the key 7. One device carries IPv4 and IPv6."
	run ip -n a link add gre7 type xtun encap gre local 198.18.1.1 remote 198.18.3.1 key 7
	run ip -n c link add gre7 type xtun encap gre local 198.18.3.1 remote 198.18.1.1 key 7
	run ip -n a addr add 10.0.13.1/24 dev gre7
	run ip -n c addr add 10.0.13.3/24 dev gre7
	run ip -n a addr add fd00:13::1/64 dev gre7 nodad
	run ip -n c addr add fd00:13::3/64 dev gre7 nodad
	run ip -n a link set gre7 up
	run ip -n c link set gre7 up
	ping_from a 10.0.13.3
	ping_from a fd00:13::3
}

has_lines()
{
	[ "$(wc -l <"$2")" -ge "$1" ]
}

wire()
{
	local dump=$FILES/wire

	title "What the router sees of them"
	show "ip netns exec router tcpdump -n -i any -Q in"
	ip netns exec router tcpdump -n -t -l --immediate-mode -i any -Q in -c 3 \
		'icmp[0] == 8 or (ip proto 41 and ip[60] == 128) or (ip6 proto 4 and ip6[60] == 8) or (ip proto 47 and ip[48] == 8)' \
		>"$dump" 2>"$dump.err" &
	wait_for 30 "tcpdump" grep -q 'listening on' "$dump.err"
	quiet ip netns exec a ping -q -c 1 -W 10 fd00:12::2
	quiet ip netns exec b ping -q -c 1 -W 10 10.0.23.3
	quiet ip netns exec a ping -q -c 1 -W 10 10.0.13.3
	wait_for 30 "three packets at the router" has_lines 3 "$dump"
	sed 's/^/  /' "$dump" | cut -c -150
	grep -q '198.18.1.1 > 198.18.2.1: IP6 fd00:12::1 > fd00:12::2' "$dump" ||
		fail "no IPv6 packet in an IPv4 packet went by"
	grep -q '2001:db8:2::1 > 2001:db8:3::1: IP 10.0.23.2 > 10.0.23.3' "$dump" ||
		fail "no IPv4 packet in an IPv6 packet went by"
	grep -q '198.18.1.1 > 198.18.3.1: GREv0, key=0x7, ' "$dump" ||
		fail "no GRE packet with the key 7 went by"
}

beside()
{
	title "A GRE tunnel of the kernel's own, between the same two addresses"
	text "Only its key is another one. Each driver gets its own packets."
	run ip -n a link add gre8 type gre local 198.18.1.1 remote 198.18.3.1 key 8 ttl 64
	run ip -n c link add gre8 type gre local 198.18.3.1 remote 198.18.1.1 key 8 ttl 64
	quiet ip -n a addr add 10.0.8.1/24 dev gre8
	quiet ip -n c addr add 10.0.8.3/24 dev gre8
	quiet ip -n a link set gre8 up
	quiet ip -n c link set gre8 up
	ping_from a 10.0.8.3
	ping_from a 10.0.13.3
}

asked()
{
	title "What the tunnels say of themselves"
	run ip -n a -d link show gre7
	expect "xtun encap gre payload ip local 198.18.1.1 remote 198.18.3.1 key 7"
	expect "mtu 1472"
	text "1472 bytes: 1500 of the link below, less 20 of IPv4 and 8 of GRE with a" \
	     "key. tunctl prints the words that make the tunnel again:"
	run tunctl -n a show
	expect "6in4 encap ip payload ip local 198.18.1.1 remote 198.18.2.1"
	run tunctl -n a -d show gre7
	expect "overhead 28"
}

refused()
{
	title "What does not work is refused, and the kernel says why"
	show "ip -n a link add gre9 type xtun encap gre local 198.18.1.1 remote 198.18.3.1 key 7"
	SAID=$(ip -n a link add gre9 type xtun encap gre local 198.18.1.1 \
		remote 198.18.3.1 key 7 2>&1) && fail "a second tunnel for the same packets was made"
	printf '%s\n' "$SAID" | sed 's/^/  /'
	expect "gre7 takes the same packets"
	show "tunctl -n a set 6in4 key 7"
	SAID=$(tunctl -n a set 6in4 key 7 2>&1) && fail "IP in IP took a key"
	printf '%s\n' "$SAID" | sed 's/^/  /'
	expect "has no keys"
}

has_mtu()
{
	[[ $(ip -n "$1" link show "$2") == *" mtu $3 "* ]]
}

follow()
{
	title "The MTU follows the link below"
	run ip -n a link set up0 mtu 1450
	wait_for 20 "the MTU of gre7" has_mtu a gre7 1422
	run ip -n a link show gre7
	run ip -n a link set up0 mtu 1500
	wait_for 20 "the MTU of gre7" has_mtu a gre7 1472
}

# The receiver takes one connection and tells its longest pause; the sender
# keeps to a rate, and half of the file is not sent but in small pieces before
# there is a file named go, however long that takes.
write_programs()
{
	cat >"$FILES/receive.py" <<-'END'
		import socket, sys, time
		listener = socket.create_server(("10.0.13.3", int(sys.argv[1])))
		print("listening", flush=True)
		connection = listener.accept()[0]
		last, longest = time.monotonic(), 0
		with open(sys.argv[2], "wb", buffering=0) as file:
		    while data := connection.recv(1 << 16):
		        file.write(data)
		        now = time.monotonic()
		        last, longest = now, max(longest, now - last)
		print(f"longest pause {longest:.2f} s")
	END
	cat >"$FILES/send.py" <<-'END'
		import os, socket, sys, time
		connection = socket.create_connection(("10.0.13.3", int(sys.argv[1])), 30)
		connection.settimeout(120)
		connection.setsockopt(socket.SOL_SOCKET, 47, int(sys.argv[3]))  # SO_MAX_PACING_RATE
		half = os.path.getsize(sys.argv[2]) // 2
		with open(sys.argv[2], "rb") as file:
		    while data := file.read(1 << 16 if file.tell() < half else 4096):
		        connection.sendall(data)
		        if file.tell() < half:
		            continue
		        if os.path.exists(sys.argv[4]):
		            break
		        time.sleep(0.02)
		    connection.sendfile(file, file.tell())
	END
}

received()
{
	stat -c %s "$FILES/received" 2>/dev/null || echo 0
}

received_at_least()
{
	[ "$(received)" -ge "$1" ] && return
	kill -0 "$SENDER" 2>/dev/null ||
		fail "the transfer ended after $(received) bytes: $(cat "$FILES/sender")"
	return 1
}

narrow()
{
	local all=$((SIZE << 20)) before status

	title "The path becomes narrow under a TCP connection"
	text "a sends $SIZE megabytes to c through the GRE tunnel, $RATE megabytes a" \
	     "second. Before, nothing is known of the path:"
	run ip -n a route get 198.18.3.1
	[[ $SAID != *mtu* ]] || fail "a path MTU is known already"
	write_programs
	head -c "$all" /dev/urandom >"$FILES/sent"
	ip netns exec c python3 "$FILES/receive.py" "$PORT" "$FILES/received" \
		>"$FILES/receiver" 2>&1 &
	RECEIVER=$!
	wait_for 60 "the receiver" grep -q listening "$FILES/receiver"
	ip netns exec a python3 "$FILES/send.py" "$PORT" "$FILES/sent" $((RATE << 20)) \
		"$FILES/go" >"$FILES/sender" 2>&1 &
	SENDER=$!
	wait_for 120 "the transfer to begin" received_at_least $((all / 4))

	echo
	text "Now the router's link to c gets an MTU of 1400 bytes."
	before=$(received)
	run ip -n router link set to-c mtu 1400
	run ip -n c link set up0 mtu 1400
	: >"$FILES/go"
	[ "$(received)" -lt "$all" ] || fail "the transfer had ended before the path was narrow"
	echo
	text "received when the link became narrow:  $before of $all bytes"
	wait_for 120 "the transfer to go on" received_at_least $((before + all / 16))
	text "received a moment later:               $(received)"
	wait "$SENDER"
	status=$?
	[ "$status" -eq 0 ] || fail "the sender said: $(cat "$FILES/sender")"
	wait "$RECEIVER" || fail "the receiver said: $(cat "$FILES/receiver")"
	text "received at the end:                   $(received)"
	text "at the receiver:                       $(tail -n 1 "$FILES/receiver")"
	[ "$(received)" -eq "$all" ] || fail "not all bytes have arrived"
	run sha256sum "$FILES/sent" "$FILES/received"
	cmp -s "$FILES/sent" "$FILES/received" || fail "what has arrived is not what was sent"

	echo
	text "The router told a that the outer packets were too big. a keeps it with" \
	     "the route to the peer:"
	run ip -n a route get 198.18.3.1
	expect "mtu 1400"
	text "And the tunnel told the sender what fits into it, 1400 less 28 bytes:"
	run ip -n a route get 10.0.13.3
	expect "mtu 1372"
}

limits()
{
	title "To the byte"
	text "1372 bytes of inner packet pass. ping -s counts neither IPv4 nor ICMP" \
	     "header, 28 bytes; -M do sets DF. One byte more is refused at once."
	run ip netns exec a ping -q -c 1 -W 10 -M "do" -s 1344 10.0.13.3
	show "ip netns exec a ping -c 1 -W 10 -M do -s 1345 10.0.13.3"
	SAID=$(ip netns exec a ping -c 1 -W 10 -M "do" -s 1345 10.0.13.3 2>&1) &&
		fail "1373 bytes went through 1400 with 28 bytes of headers"
	printf '%s\n' "$SAID" | sed -n '/[Mm]essage too long/s/^/  /p'
	expect "essage too long"
	text "Without DF the tunnel cuts the packet in two before it encapsulates it:"
	run ip netns exec a ping -q -c 1 -W 10 -M dont -s 1345 10.0.13.3
	expect " 0% packet loss"
}

drops()
{
	local count

	title "A packet that is dropped has a name"
	text "c shall take packets from 10.0.13.0/24 only, out of the tunnel in use:"
	run ip -n c link set gre7 type xtun allow 10.0.13.0/24
	run tunctl -n c show gre7
	expect "allow 10.0.13.0/24"
	run ip -n a addr add 10.66.66.66/32 dev gre7
	show "ip netns exec a ping -q -c 1 -W 1 -I 10.66.66.66 10.0.13.3"
	SAID=$(ip netns exec a ping -q -c 1 -W 1 -I 10.66.66.66 10.0.13.3 2>&1) &&
		fail "c answered a source that is not allowed"
	printf '%s\n' "$SAID" | sed -n '/transmitted/s/^/  /p'
	run tunctl -n c stats gre7
	expect "rx-not-allowed"
	text "ethtool has the same names, and those that did not occur:"
	show "ip netns exec c ethtool -S gre7"
	SAID=$(ip netns exec c ethtool -S gre7 2>&1) || fail "ethtool: $SAID"
	count=$(sed -n 's/^ *rx-not-allowed: //p' <<<"$SAID")
	printf '%s\n' "$SAID" | grep -B 1 -A 1 'rx-not-allowed' | sed 's/^ */  /'
	[ "$count" = 1 ] || fail "one packet was dropped, and $count are counted"
	text "a has counted what the router said when the path became narrow, and whom it told:"
	run tunctl -n a stats gre7
	expect "err-too-big"
}

unload()
{
	title "Without the module"
	run rmmod xtun
	show "ip -n a -br link"
	SAID=$(ip -n a -br link) || fail "ip link failed"
	printf '%s\n' "$SAID" | awk '{ print "  " $1 }'
	[[ $SAID != *gre7* && $SAID != *6in4* ]] || fail "a tunnel has outlived its module"
	text "The kernel's own GRE tunnel has noticed nothing:"
	ping_from a 10.0.8.3
}

# Whatever else has worked: the kernel must not have complained.
check_log()
{
	! dmesg | grep -w -E 'WARNING|BUG|Oops|Call Trace' || fail "the kernel complained"
}

main()
{
	require_guest
	mkdir -p "$FILES"
	load
	network
	tunnels
	wire
	beside
	asked
	refused
	follow
	narrow
	limits
	drops
	unload
	check_log
	echo
	echo "demo: all steps worked"
}

main "$@"
