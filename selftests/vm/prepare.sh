#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a Debian 12 machine able to build, check and test xtun: installs the
# packages it lacks and puts kernels, as Debian ships them, into the cache
# folder.  No kernel or kernel header package is installed: they are unpacked
# in the cache, where only the virtual machines and the builds see them.
#
# usage: prepare.sh [WHAT...]
#	packages	Debian packages for building, checking and testing
#	6.1 6.12	that kernel: image, modules, headers to build against
#	debug		a kernel with the debugging options, built here from source
#	source		checkpatch, kernel-doc and ynl, from the kernel's source
#	openvswitch	Open vSwitch, a peer for a test
# Without WHAT: all of them but debug.  What is there already is not touched, so that a
# second run does nothing and needs no network.

set -e -E -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

PACKAGES_BUILD="make gcc gcc-12 libc6-dev libmnl-dev binutils pahole perl xz-utils zstd kmod"
PACKAGES_VM="qemu-system-x86 busybox-static util-linux procps"
PACKAGES_TEST="iproute2 iputils-ping iputils-tracepath ethtool nftables
	tcpdump tshark iperf3 socat traceroute conntrack psmisc
	python3 python3-scapy python3-yaml"
PACKAGES_LINT="sparse shellcheck python3-pyflakes python3-jsonschema man-db"

APT_UPDATED=
STAGE=

cleanup()
{
	[ -z "$STAGE" ] || rm -rf "$STAGE"
}

require_debian_12()
{
	local ID=unknown VERSION_ID=

	# shellcheck source=/dev/null
	[ ! -r /etc/os-release ] || . /etc/os-release
	[ "$ID $VERSION_ID" != "debian 12" ] || return 0
	die "this machine runs $ID $VERSION_ID, but $* can be had from Debian 12 only." \
	    "On another system, build with 'make KDIR=...' and test in a Debian 12 machine."
}

require_root()
{
	[ "$(id -u)" -eq 0 ] ||
		die "not root, and packages are missing. As root: apt-get install --no-install-recommends $*"
}

# require_space FOLDER MEGABYTES [ADVICE]
require_space()
{
	local free

	free=$(df --output=avail -m "$1" | tail -n 1)
	[ "$free" -ge "$2" ] ||
		die "$1 has $free MB free and $2 MB are needed${3:+; $3}"
}

require_cache_space()
{
	mkdir -p "$CACHE"
	require_space "$CACHE" "$1" "XTUN_CACHE=<folder> takes another place"
}

require_amd64()
{
	local arch

	arch=$(dpkg --print-architecture)
	[ "$arch" = amd64 ] ||
		die "this machine is $arch, and the virtual machines' kernels are amd64's." \
		    "Here, build with 'make KDIR=...' and test in an amd64 machine."
}

# Package lists are read once a run, and only when something is to be fetched.
apt_update()
{
	[ -z "$APT_UPDATED" ] || return 0
	say "apt-get update: reading the package lists"
	apt-get update -q >"$STAGE/apt.log" 2>&1 || {
		cat "$STAGE/apt.log" >&2
		die "apt-get update failed: is the Debian mirror reachable?"
	}
	# apt-get calls it a success when it could reach nobody.
	grep '^[EW]: Failed to fetch' "$STAGE/apt.log" >&2 || :
	APT_UPDATED=1
}

missing_packages()
{
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p' | grep -v -x -F -f - <(printf '%s\n' "$@")
}

prepare_packages()
{
	local missing

	# shellcheck disable=SC2086 # lists of words
	missing=$(missing_packages $PACKAGES_BUILD $PACKAGES_VM $PACKAGES_TEST $PACKAGES_LINT || :)
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086
	set -- $missing
	require_debian_12 "the packages ($*)"
	require_root "$@"
	# All of them on a minimal system, and what is downloaded for them.
	require_space /usr 900 "the packages go there"
	apt_update
	say "installing $# packages (a minute or two): $*"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "$@" >"$STAGE/apt.log" 2>&1 </dev/null || {
		tail -n 40 "$STAGE/apt.log" >&2
		die "apt-get install failed"
	}
}

# One field of the newest version of a package that apt knows.
apt_field()
{
	local text

	text=$(apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p")
	[ -n "$text" ] ||
		die "apt knows no package $1: are bookworm and bookworm-security among its sources, and reachable?"
	echo "$text"
}

# The package that a list of dependencies names for a pattern.
dependency()
{
	tr ',|' '\n' | sed 's/(.*//; s/ //g' | grep -m 1 -E "^$1\$"
}

# Downloads packages into the current folder and unpacks them into ./root.
fetch_packages()
{
	say "downloading $*"
	apt-get download -q -o APT::Sandbox::User=root "$@" >"$STAGE/apt.log" 2>&1 || {
		grep '^E:' "$STAGE/apt.log" >&2
		die "download failed"
	}
}

unpack_packages()
{
	local deb

	for deb in ./*.deb; do
		dpkg-deb -x "$deb" root
		rm "$deb"
	done
}

# Device drivers that no virtual machine here has, half a gigabyte of them.
drop_unused_modules()
{
	local kernel=$1/kernel

	rm -rf "$kernel"/drivers/{gpu,media,infiniband,iio,scsi,staging,usb} \
		"$kernel"/drivers/net/{ethernet,wireless,can} "$kernel"/sound
	# Unpacking xz is slow in an emulated machine: do it here, once.
	find "$kernel" -name '*.ko.xz' -print0 | xargs -0 -r -P "$(nproc)" -n 64 unxz
}

# The headers find each other through /usr/src, where they are not.
mend_headers()
{
	local src=$1/usr/src release=$2 home=$3

	cat >"$src/linux-headers-$release/Makefile" <<-'END'
	include $(dir $(lastword $(MAKEFILE_LIST)))../COMMON/Makefile
	END
	sed -i "s/COMMON/$(basename "$src"/linux-headers-*-common)/" \
		"$src/linux-headers-$release/Makefile"
	ln -s "usr/src/linux-headers-$release" "$1/build"
	# Absolute: in the guest the modules are seen under /lib.
	ln -sfn "$home/build" "$1/lib/modules/$release/build"
	ln -sfn "$home/usr/src/$(basename "$src"/linux-headers-*-common)" \
		"$1/lib/modules/$release/source"
}

kernel_packages()
{
	local meta=$1 image headers depends version

	image=$(apt_field "linux-image-$meta" Depends | dependency 'linux-image-[0-9].*')
	version=$(apt_field "$image" Version)
	headers=linux-headers-${image#linux-image-}
	depends=$(apt_field "$headers" Depends)
	printf '%s=%s\n' "$image" "$version" "$headers" "$version" \
		"$(dependency 'linux-headers-.*-common' <<<"$depends")" "$version" \
		"$(dependency 'linux-kbuild-.*' <<<"$depends")" "$version"
}

# A number in the header of a bzImage: OFFSET SIZE
header()
{
	od -A n -t "u$2" -j "$1" -N "$2" vmlinuz | tr -d ' '
}

# What a bzImage has inside, for machines that boot without a firmware.
unpack_image()
{
	local start length

	start=$((($(header 0x1f1 1) + 1) * 512 + $(header 0x248 4)))
	length=$(header 0x24c 4)
	dd if=vmlinuz of=packed bs=64K iflag=skip_bytes,count_bytes \
		skip="$start" count="$length" status=none
	# The last four bytes are the length, for the kernel's own unpacker.
	case $(od -A n -t x1 -N 4 packed | tr -d ' ') in
	fd377a58)	xz -dc --single-stream <packed ;;
	28b52ffd)	head -c -4 packed | zstd -dc ;;
	*)		die "cannot tell how vmlinuz is packed" ;;
	esac >vmlinux
	rm packed
}

prepare_kernel()
{
	local k=$1 meta release packages

	kernel_ready "$k" && return
	case $k in
	6.1)	meta=amd64 ;;
	*)	meta=$k-amd64 ;;
	esac
	require_debian_12 "Linux $k"
	require_amd64
	require_cache_space 1500
	apt_update
	say "kernel $k into $(kernel_dir "$k") (100 MB of download, then 20 s)"
	packages=$(kernel_packages "$meta")
	mkdir "$STAGE/$k"
	cd "$STAGE/$k"
	# shellcheck disable=SC2086
	fetch_packages $packages
	unpack_packages
	cd root
	release=$(basename lib/modules/*)
	mv "boot/vmlinuz-$release" vmlinuz
	unpack_image
	rm -rf boot usr/share
	drop_unused_modules "lib/modules/$release"
	depmod -b . "$release"
	mend_headers . "$release" "$(kernel_dir "$k")"
	cd "$TOP"
	mkdir -p "$(dirname "$(kernel_dir "$k")")"
	mv -T "$STAGE/$k/root" "$(kernel_dir "$k")"
}

prepare_debug()
{
	kernel_ready debug || "$VM_DIR/debug-kernel.sh"
}

prepare_source()
{
	local dir=$CACHE/source/6.12 tar=usr/src/linux-source-6.12.tar.xz

	[ ! -e "$dir" ] || return 0
	require_debian_12 "the kernel's source"
	require_cache_space 500
	apt_update
	say "checkpatch, kernel-doc and ynl into $dir (150 MB of download, then 20 s)"
	mkdir "$STAGE/source"
	cd "$STAGE/source"
	fetch_packages linux-source-6.12
	unpack_packages
	tar -xJf "root/$tar" --wildcards \
		'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
		'*/scripts/const_structs.checkpatch' '*/scripts/kernel-doc' \
		'*/tools/net/ynl/*' '*/Documentation/netlink/*'
	cd "$TOP"
	mkdir -p "$(dirname "$dir")"
	mv -T "$STAGE/source/linux-source-6.12" "$dir"
}

# Unpacked and not installed: installing it starts its daemons.  Of its libraries, those
# that nothing in the lists above brings.
prepare_openvswitch()
{
	local dir=$CACHE/openvswitch

	[ ! -e "$dir" ] || return 0
	require_debian_12 "Open vSwitch"
	require_cache_space 50
	apt_update
	say "Open vSwitch into $dir (5 MB of download)"
	mkdir "$STAGE/openvswitch"
	cd "$STAGE/openvswitch"
	fetch_packages openvswitch-switch openvswitch-common \
		libunbound8 libevent-2.1-7 libxdp1
	unpack_packages
	rm -rf root/etc root/lib root/usr/share/{doc,man}
	cd "$TOP"
	mv -T "$STAGE/openvswitch/root" "$dir"
}

main()
{
	local what

	[ $# -gt 0 ] || set -- packages 6.1 6.12 source openvswitch
	mkdir -p "$CACHE"
	trap cleanup EXIT
	trap 'say "$(basename "$0"): line $LINENO failed"' ERR
	trap 'exit 1' HUP INT TERM
	# Two runs at once would download everything twice.
	exec 8>"$CACHE/prepare.lock"
	flock 8
	# What one that was killed left behind.
	rm -rf "$CACHE"/prepare.run.*
	STAGE=$(mktemp -d "$CACHE/prepare.run.XXXXXX")
	for what in "$@"; do
		case $what in
		packages)	prepare_packages ;;
		6.1|6.12)	prepare_kernel "$what" ;;
		debug)		prepare_debug ;;
		source)		prepare_source ;;
		openvswitch)	prepare_openvswitch ;;
		*)		die "no such thing to prepare: $what" ;;
		esac
	done
}

main "$@"
