#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the layer of files that virtual machines have in memory: the programs
# that tests start again and again, the libraries of those, and Python.  To look
# a file up on the host takes a guest milliseconds, and starting ip(8) takes
# twice as long from there.
#
# It is an archive for the initramfs, $XTUN_CACHE/hot-STAMP.cpio, made anew when
# packages have changed; its path is printed.
#
# usage: hot.sh

set -e -u -o pipefail
shopt -s inherit_errexit
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

PROGRAMS="bash sh env timeout stdbuf sleep cat mkdir rm ps setsid stty
	ip tc bridge ethtool nft conntrack ping tracepath traceroute
	insmod rmmod modprobe depmod sysctl python3"
# What they load or read by a name of their own.
FILES="/etc/ld.so.cache /etc/protocols /etc/services /etc/ethertypes /etc/nsswitch.conf
	/etc/passwd /etc/group /etc/iproute2 /usr/share/iproute2
	/usr/libexec/coreutils/libstdbuf.so /usr/lib/locale/C.utf8"
# Of Python's own library, what no test imports is half of it.
LEFT_OUT=('config-*' test idlelib lib2to3 pydoc_data ensurepip tkinter turtledemo)

TARGET=
WORK=

cleanup()
{
	[ -z "$WORK" ] || rm -rf "$WORK"
}

# What it is made from.
stamp()
{
	cat "$0" /var/lib/dpkg/status | sha256sum | cut -c 1-12
}

# Paths of a program and its libraries, with the links on the way to them.
program()
{
	local path

	path=$(type -P "$1") || return 0
	{
		echo "$path"
		ldd "$path" 2>/dev/null | grep -o '/[^ )]*' || :
	} | while read -r path; do
		realpath "$path"
		# Without what /bin and /lib are links to.
		echo "$(realpath "$(dirname "$path")")/$(basename "$path")"
	done
}

python()
{
	local library name
	local -a prune=()

	for name in "${LEFT_OUT[@]}"; do
		prune+=(-name "$name" -prune -o)
	done
	library=$(/usr/bin/python3 -I -c 'import os; print(os.path.dirname(os.__file__))')
	find "$library" "${prune[@]}" -type f -print
	find /usr/lib/python3/dist-packages/{scapy,yaml} -type f
}

list()
{
	local name

	for name in $PROGRAMS; do
		program "$name"
	done
	for name in $FILES; do
		[ ! -e "$name" ] || find "$(realpath "$name")" ! -type d
	done
	python
}

main()
{
	[ $# -eq 0 ] || die "usage: hot.sh"
	TARGET=$CACHE/hot-$(stamp).cpio
	# Its folders are the guest's /usr and /usr/lib, for all users there.
	umask 022
	# Several machines that start need it at once.
	exec 8>>"$CACHE/hot.lock"
	flock 8
	if [ ! -e "$TARGET" ]; then
		# And what one that was killed has left.
		rm -rf "$CACHE"/hot.??????
		trap cleanup EXIT
		WORK=$(mktemp -d "$CACHE/hot.XXXXXX")
		mkdir -p "$WORK/root/hot"
		list | sort -u | sed 's,^/,,' | tar -c -C / --no-recursion -T - |
			tar -x -C "$WORK/root/hot"
		(cd "$WORK/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$WORK/cpio"
		# A machine that starts just now holds the one that it has opened.
		rm -f "$CACHE"/hot-*.cpio
		mv "$WORK/cpio" "$TARGET"
	fi
	echo "$TARGET"
}

main "$@"
