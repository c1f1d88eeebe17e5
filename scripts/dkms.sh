#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Gives the module to DKMS, which builds it for every kernel whose headers are
# installed and again for each that comes later, or takes it away from there. What
# fails is undone as a whole: DKMS would try for every later kernel what cannot be
# built.
#
# usage: dkms.sh install VERSION RELEASE	it has to be built for this kernel
#        dkms.sh remove				whatever version is there

set -u
cd "$(dirname "$0")/.." || exit 1

TREE=/var/lib/dkms/xtun
SOURCES=/usr/src/xtun

die()
{
	printf '%s\n' "$*" >&2
	exit 1
}

# The versions that DKMS knows, or has begun to.
versions()
{
	local link

	! command -v dkms >/dev/null || dkms status -m xtun 2>/dev/null |
		sed -n 's|^\(.* \)\{0,1\}xtun[/, ]\{1,2\}\([^,:]*\).*|\2|p'
	for link in "$TREE"/*/source; do
		[ ! -L "$link" ] || basename "$(dirname "$link")"
	done
}

# DKMS builds from its own copy, which nobody takes for a checkout.
is_checkout()
{
	[ -e "$1/Makefile" ]
}

remove()
{
	local version module

	for version in $(versions | sort -u); do
		echo "removing xtun $version from DKMS"
		! command -v dkms >/dev/null ||
			dkms remove -m xtun -v "$version" --all >/dev/null 2>&1 || :
		is_checkout "$SOURCES-$version" || rm -rf "${SOURCES:?}-$version"
	done
	# What DKMS no longer knows of, or has left because it is not there any more.
	rm -rf "${TREE:?}"
	for module in /lib/modules/*/updates/dkms/xtun.ko*; do
		[ -e "$module" ] || continue
		rm -f "$module"
		module=${module%/updates/*}
		rmdir -p --ignore-fail-on-non-empty "$module/updates/dkms"
		depmod "${module##*/}"
	done
}

# Not what was built here, which may be for another kernel.
copy_sources()
{
	install -d "$1" &&
		find kmod uapi COPYING -type f ! -name '*.mod.c' \
			\( -name '*.[ch]' -o -name Kbuild -o -name COPYING \) \
			-exec cp --parents {} "$1/" \; &&
		sed "s/#MODULE_VERSION#/$VERSION/" dkms.conf >"$1/dkms.conf"
}

# Says why, while it can still be seen.
give_up()
{
	tail -n 20 "$TREE/$VERSION/build/make.log" >&2 2>/dev/null
	remove >/dev/null
	die "$*; nothing of it is left"
}

# The kernels whose headers are where DKMS looks for them.
kernels()
{
	local build

	for build in /lib/modules/*/build; do
		[ ! -e "$build/Makefile" ] || basename "${build%/build}"
	done
}

build_for()
{
	dkms install -m xtun -v "$VERSION" -k "$1"
}

install_all()
{
	local kernel

	command -v dkms >/dev/null || die "There is no dkms here. Debian: apt install dkms"
	[ -w /usr/src ] || die "only root can do that"
	kernels | grep -qxF -e "$RELEASE" ||
		die "DKMS looks for headers in /lib/modules/$RELEASE/build: there are none." \
		    "Debian: apt install linux-headers-$RELEASE"
	! is_checkout "$SOURCES-$VERSION" ||
		die "$SOURCES-$VERSION is where DKMS wants its own copy: move this checkout elsewhere"
	remove
	copy_sources "$SOURCES-$VERSION" || {
		rm -rf "${SOURCES:?}-$VERSION"
		die "the sources could not be copied to $SOURCES-$VERSION"
	}
	dkms add -m xtun -v "$VERSION" || give_up "DKMS does not take it"
	build_for "$RELEASE" || give_up "it could not be built for $RELEASE"
	for kernel in $(kernels | grep -vxF -e "$RELEASE"); do
		build_for "$kernel" ||
			echo "it could not be built for $kernel; DKMS has it for the others" >&2
	done
}

case $#${1:-} in
3install)	VERSION=$2 RELEASE=$3; install_all ;;
1remove)	remove ;;
*)		die "usage: dkms.sh install VERSION RELEASE | remove" ;;
esac
