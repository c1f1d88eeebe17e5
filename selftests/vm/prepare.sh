#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a machine with Debian 12 or 13 able to build, check and test xtun: installs
# the packages it lacks and puts kernels, as Debian ships them, into the cache
# folder.  No kernel or kernel header package is installed: they are unpacked
# in the cache, where only the virtual machines and the builds see them.
#
# usage: prepare.sh [WHAT...]
#	packages	Debian packages for building, checking and testing
#	bench		those that only "make bench" needs
#	6.1 6.12 7.3	that kernel: image, modules, headers to build against
#	debug		a kernel with the debugging options, built here from source
#	source		checkpatch, kernel-doc and ynl, from the kernel's source
#	openvswitch	Open vSwitch, a peer for a test
#	bird		BIRD, a routing daemon for another
#	dkms		DKMS, for the test that installs the module
# Without WHAT: all of them but bench and debug.  What is there already is not touched,
# so that a second run does nothing and needs no network.

set -e -E -u -o pipefail
shopt -s inherit_errexit
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=selftests/vm/apt.sh
. "$VM_DIR/apt.sh"

PACKAGES_BUILD="make gcc gcc-12 libc6-dev libmnl-dev binutils pahole perl xz-utils zstd kmod"
PACKAGES_VM="qemu-system-x86 busybox-static util-linux procps"
PACKAGES_TEST="iproute2 iputils-ping iputils-tracepath ethtool nftables
	tcpdump tshark iperf3 socat traceroute conntrack psmisc
	python3 python3-scapy python3-yaml"
# What is unpacked where modules are built for a kernel that is too new for this machine.
PACKAGES_ROOT="gcc-14 make bash dash coreutils diffutils findutils gawk grep sed tar perl-base
	debianutils hostname base-files kmod pahole libelf1t64 libssl3t64 zlib1g"
# What "make install" and "make dkms" need beside that.  Here all but dkms is installed.
PACKAGES_ROOT_INSTALL="dkms xz-utils libmnl-dev libmnl0 libc6-dev linux-libc-dev"
PACKAGES_BENCH="clang"
PACKAGES_LINT="sparse shellcheck python3-pyflakes python3-jsonschema man-db"

STAGE=

cleanup()
{
	[ -z "$STAGE" ] || rm -rf "$STAGE"
}

require_debian()
{
	[ -z "$(own_release)" ] || return 0
	die "$* can be had on Debian 12 and 13 only." \
	    "On another system, build with 'make KDIR=...' and test in a machine with one of those."
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

missing_packages()
{
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p' | grep -v -x -F -f - <(printf '%s\n' "$@")
}

# prepare_packages LIST: with spaces between its words
prepare_packages()
{
	local missing

	# shellcheck disable=SC2086 # a list of words
	missing=$(missing_packages $1 || :)
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086
	set -- $missing
	require_debian "the packages ($*)"
	require_root "$@"
	# All of them on a minimal system, and what is downloaded for them.
	require_space /usr 900 "the packages go there"
	say "apt-get update: reading the package lists"
	own_apt_get "$STAGE/apt.log" update || {
		cat "$STAGE/apt.log" >&2
		die "apt-get update failed: is the Debian mirror reachable?"
	}
	say "installing $# packages (a minute or two): $*"
	own_apt_get "$STAGE/apt.log" install -y --no-install-recommends "$@" || {
		tail -n 40 "$STAGE/apt.log" >&2
		die "apt-get install failed"
	}
}

# The package that a list of dependencies names for a pattern.
dependency()
{
	tr ',|' '\n' | sed 's/(.*//; s/ //g' | grep -m 1 -E "^$1\$"
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
	local src=$1/usr/src release=$2 home=$3 makefile common

	makefile=$src/linux-headers-$release/Makefile
	common=$(basename "$src"/linux-headers-*-common)
	{
		# Newer ones say where the rest is, and look for it nowhere else.
		# shellcheck disable=SC2016 # for make
		! grep -q '^KBUILD_OUTPUT' "$makefile" ||
			echo 'KBUILD_OUTPUT := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))'
		echo "include \$(dir \$(lastword \$(MAKEFILE_LIST)))../$common/Makefile"
	} >"$makefile.new"
	mv "$makefile.new" "$makefile"
	ln -s "usr/src/linux-headers-$release" "$1/build"
	# Absolute: in the guest the modules are seen under /lib.
	ln -sfn "$home/build" "$1/lib/modules/$release/build"
	ln -sfn "$home/usr/src/$common" "$1/lib/modules/$release/source"
}

# The release and the package of a kernel's image: its newest version.
kernel_image()
{
	local image

	case $1 in
	6.1)	echo bookworm "$(apt_field bookworm linux-image-amd64 Depends |
			dependency 'linux-image-[0-9].*')" ;;
	6.12)	echo bookworm "$(apt_field bookworm linux-image-6.12-amd64 Depends |
			dependency 'linux-image-[0-9].*')" ;;
	7.3)	image=$(apt_of trixie-backports apt-cache pkgnames "linux-image-$1." |
			grep -E "^linux-image-$1\.[0-9]+\+deb13-amd64\$" | sort -V | tail -n 1 || :)
		[ -n "$image" ] || die "trixie-backports has no Linux $1 any more"
		echo trixie-backports "$image" ;;
	esac
}

# An image's packages, those that it consists of in newer releases among them.
kernel_packages()
{
	local release=$1 image=$2 name=${2#linux-image-} depends version

	version=$(apt_field "$release" "$image" Version)
	depends=$(apt_field "$release" "linux-headers-$name" Depends)
	{
		echo "$image"
		apt_field "$release" "$image" Depends | tr ',' '\n' | sed 's/(.*//; s/ //g' |
			grep -x -F -e "linux-base-$name" -e "linux-binary-$name" \
				-e "linux-modules-$name" || :
		echo "linux-headers-$name"
		dependency 'linux-headers-.*-common' <<<"$depends"
		dependency 'linux-kbuild-.*' <<<"$depends"
	} | sed "s/\$/=$version/"
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
	local k=$1 release image packages

	if ! kernel_ready "$k"; then
		require_amd64
		require_cache_space 1500
		case $k in
		7.3)	apt_lists trixie-backports ;;
		*)	apt_lists bookworm ;;
		esac
		say "kernel $k into $(kernel_dir "$k") (140 MB of download, then 20 s)"
		read -r release image < <(kernel_image "$k")
		[ -n "${image:-}" ] || die "cannot tell which package is Linux $k"
		packages=$(kernel_packages "$release" "$image")
		mkdir "$STAGE/$k"
		cd "$STAGE/$k"
		# shellcheck disable=SC2086 # a list of words
		apt_fetch "$release" $packages
		apt_unpack
		put_kernel "$k"
	fi
	builds_here "$k" || {
		prepare_root
		# shellcheck disable=SC2086 # a list of words
		prepare_dkms trixie $PACKAGES_ROOT_INSTALL
	}
}

# The kernel unpacked in ./root, in its place.
put_kernel()
{
	local k=$1 release

	cd root
	if [ -d usr/lib/modules ]; then
		mkdir -p lib
		mv usr/lib/modules lib/
	fi
	release=$(basename lib/modules/*)
	mv boot/vmlinuz-* vmlinuz 2>/dev/null || mv "lib/modules/$release/vmlinuz" vmlinuz
	unpack_image
	rm -rf boot usr/share
	drop_unused_modules "lib/modules/$release"
	depmod -b . "$release"
	mend_headers . "$release" "$(kernel_dir "$k")"
	cd "$TOP"
	mkdir -p "$(dirname "$(kernel_dir "$k")")"
	mv -T "$STAGE/$k/root" "$(kernel_dir "$k")"
}

# A newer Debian's compiler and C library, unpacked: nothing in there is installed
# or runs but a build of modules.
prepare_root()
{
	local dir

	[ ! -e "$BUILD_ROOT" ] || return 0
	require_cache_space 700
	apt_lists trixie
	say "Debian 13's compiler into $BUILD_ROOT (75 MB of download)"
	mkdir -p "$STAGE/root/archives/partial" "$STAGE/root/root"/usr/{bin,sbin,lib,lib64}
	cd "$STAGE/root"
	# shellcheck disable=SC2086 # a list of words
	apt_of trixie apt-get install -q -y --download-only --no-install-recommends \
		-o "Dir::Cache::Archives=$PWD/archives" $PACKAGES_ROOT \
		>"$STAGE/apt.log" 2>&1 </dev/null || {
		tail -n 20 "$STAGE/apt.log" >&2
		die "the packages could not be downloaded"
	}
	mv archives/*.deb .
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "root/$dir"
	done
	apt_unpack
	# What installing the package would do.
	ln -sf gawk root/usr/bin/awk
	mkdir -p "$(dirname "$BUILD_ROOT")"
	mv -T root "$BUILD_ROOT"
	cd "$TOP"
}

prepare_debug()
{
	"$VM_DIR/debug-kernel.sh"
}

prepare_source()
{
	local dir=$CACHE/source/6.12 tar=usr/src/linux-source-6.12.tar.xz

	[ ! -e "$dir" ] || return 0
	require_cache_space 500
	apt_lists bookworm
	say "checkpatch, kernel-doc and ynl into $dir (150 MB of download, then 20 s)"
	mkdir "$STAGE/source"
	cd "$STAGE/source"
	apt_fetch bookworm linux-source-6.12
	apt_unpack
	tar -xJf "root/$tar" --wildcards \
		'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
		'*/scripts/const_structs.checkpatch' '*/scripts/kernel-doc' \
		'*/tools/net/ynl/*' '*/Documentation/netlink/*'
	cd "$TOP"
	mkdir -p "$(dirname "$dir")"
	mv -T "$STAGE/source/linux-source-6.12" "$dir"
}

# Unpacked and not installed: installing it starts its daemons.  Of its libraries, those
# that nothing in the lists above brings.  It runs on this machine's C library: it is
# this machine's release of it.
prepare_openvswitch()
{
	local dir=$CACHE/openvswitch release libevent

	release=$(own_release)
	[ ! -e "$dir" ] || [ "$(cat "$dir/release" 2>/dev/null)" != "$release" ] || return 0
	require_debian "Open vSwitch"
	require_cache_space 50
	apt_lists "$release"
	libevent=$(apt_field "$release" libunbound8 Depends | dependency 'libevent-2.*')
	say "Open vSwitch into $dir (5 MB of download)"
	mkdir "$STAGE/openvswitch"
	cd "$STAGE/openvswitch"
	apt_fetch "$release" openvswitch-switch openvswitch-common libunbound8 "$libevent" libxdp1
	apt_unpack
	rm -rf root/etc root/lib root/usr/share/{doc,man}
	echo "$release" >root/release
	cd "$TOP"
	rm -rf "$dir"
	mv -T "$STAGE/openvswitch/root" "$dir"
}

# As Open vSwitch.
prepare_bird()
{
	local dir=$CACHE/bird release libssh

	release=$(own_release)
	[ ! -e "$dir" ] || [ "$(cat "$dir/release" 2>/dev/null)" != "$release" ] || return 0
	require_debian "BIRD"
	require_cache_space 10
	apt_lists "$release"
	libssh=$(apt_field "$release" bird2 Depends | dependency 'libssh-.*')
	say "BIRD into $dir (1 MB of download)"
	mkdir "$STAGE/bird"
	cd "$STAGE/bird"
	apt_fetch "$release" bird2 "$libssh"
	apt_unpack
	rm -rf root/etc root/lib root/usr/share
	echo "$release" >root/release
	cd "$TOP"
	rm -rf "$dir"
	mv -T "$STAGE/bird/root" "$dir"
}

# prepare_dkms RELEASE PACKAGE...: unpacked and not installed: it would build modules for
# every kernel that comes to this machine.  The virtual machine puts it in its place.
prepare_dkms()
{
	local release=$1 dir=$CACHE/dkms/$1
	shift

	[ ! -e "$dir" ] || [ "$(cat "$dir.packages" 2>/dev/null)" != "$*" ] || return 0
	require_cache_space 100
	apt_lists "$release"
	say "DKMS of $release into $dir"
	mkdir "$STAGE/dkms.$release"
	cd "$STAGE/dkms.$release"
	apt_fetch "$release" "$@"
	apt_unpack
	rm -rf root/usr/share/{doc,man,locale}
	cd "$TOP"
	mkdir -p "$(dirname "$dir")"
	# It may have been another list of packages.
	rm -rf "$dir"
	mv -T "$STAGE/dkms.$release/root" "$dir"
	echo "$*" >"$dir.packages"
}

prepare_own_dkms()
{
	require_debian "DKMS"
	prepare_dkms "$(own_release)" dkms
}

main()
{
	local what

	# shellcheck disable=SC2086 # a list of words
	[ $# -gt 0 ] || set -- packages $KERNELS source openvswitch bird dkms
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
		packages)	prepare_packages "$PACKAGES_BUILD $PACKAGES_VM $PACKAGES_TEST $PACKAGES_LINT" ;;
		bench)		prepare_packages "$PACKAGES_BENCH" ;;
		6.1|6.12|7.3)	prepare_kernel "$what" ;;
		debug)		prepare_debug ;;
		source)		prepare_source ;;
		openvswitch)	prepare_openvswitch ;;
		bird)		prepare_bird ;;
		dkms)		prepare_own_dkms ;;
		*)		die "no such thing to prepare: $what" ;;
		esac
	done
}

main "$@"
