#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the debug kernel that vm.sh boots with -K debug: Debian's 6.1 source
# with the small configuration of debug.config, in which KASAN, lockdep,
# kmemleak and their like watch the module.  Debian ships no such kernel.
#
# $XTUN_CACHE/debug/6.1 (XTUN_CACHE: ~/.cache/xtun by default) leads to vmlinuz,
# lib/modules/RELEASE with the in-tree tunnels, and build/, the KDIR for modules.
# It takes about ten minutes on two idle processors; a second run finds it and
# does nothing; after a change of debug.config only what depends on the change
# is compiled again.  For that the source and its objects stay in 6.1.work beside
# it, which may be deleted.
#
# usage: debug-kernel.sh

set -e -u -o pipefail
shopt -s inherit_errexit
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=selftests/vm/apt.sh
. "$VM_DIR/apt.sh"

SOURCE=linux-source-6.1
DEBIAN=bookworm
# Not the newest: the source is older.
COMPILER=gcc-12
PACKAGES="$COMPILER gcc make bc bison flex libelf-dev libssl-dev lz4 kmod perl xz-utils"
FRAGMENT=$VM_DIR/debug.config
RESULT=$(kernel_dir debug)	# a link to the kernel in use
WORK=$RESULT.work
TREE=$WORK/$SOURCE
LOG=$WORK/build.log
NEW=$WORK/result
LAYOUT=1		# raise it when what this script puts there changes

# Drivers and architectures of which the build reads nothing but Kconfig and
# Makefile: without their sources the tree takes half a gigabyte, not 1.3.
LEFT_OUT=(
	'*/arch/[!x]*/*.[chS]' '*.dts' '*.dtsi'
	'*/drivers/gpu/drm/*.[ch]' '*/drivers/net/ethernet/*.[ch]'
	'*/drivers/net/wireless/*.[ch]' '*/drivers/media/*.[ch]'
	'*/drivers/scsi/*.[ch]' '*/drivers/staging/*.[ch]'
	'*/drivers/infiniband/*.[ch]' '*/sound/*.[ch]'
	'*/tools/perf/*' '*/tools/testing/*'
)

# The newest version of the source that apt knows, or nothing.
source_version()
{
	LC_ALL=C apt_of "$DEBIAN" apt-cache policy "$SOURCE" 2>/dev/null |
		sed -n 's/^ *Candidate: //p' | grep -v '^(none)$' || :
}

# fail WORDS: with the end of what was being run.
fail()
{
	tail -n 25 "$LOG" >&2
	die "$* (all of it: $LOG)"
}

# What a kernel is made from; its folder is named after that.
stamp()
{
	echo "layout $LAYOUT"
	echo "source $1"
	echo "config $(sha256sum <"$FRAGMENT" | cut -d ' ' -f 1)"
	echo "compiler $("$COMPILER" -dumpfullversion 2>/dev/null)"
}

kernel_name()
{
	echo "$1-$(stamp "$1" | sha256sum | cut -c 1-8)"
}

is_made()
{
	[ -e "$CACHE/debug/$(kernel_name "$1")" ]
}

install_packages()
{
	local package missing=()

	for package in $PACKAGES; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null |
			grep -q '^installed$' || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" -eq 0 ] ||
		die "not root, and packages are missing. As root: apt-get install --no-install-recommends ${missing[*]}"
	say "installing ${missing[*]}"
	own_apt_get "$LOG" update || fail "apt-get update failed"
	own_apt_get "$LOG" install -y --no-install-recommends "${missing[@]}" ||
		fail "apt-get install failed"
}

require_space()
{
	local free

	free=$(df --output=avail -m "$WORK" | tail -n 1)
	[ "$free" -ge "$1" ] ||
		die "$WORK has $free MB free and $1 MB are needed; XTUN_CACHE=<folder> takes another place"
}

has_source()
{
	[ -n "$1" ] && [ "$(cat "$TREE/.debian-version" 2>/dev/null)" = "$1" ]
}

# The tree appears under its name when it is complete.
unpack_source()
{
	local dir=$WORK/unpack

	require_space 2500
	rm -rf "$TREE" "$dir"
	mkdir "$dir"
	say "downloading and unpacking $SOURCE $1 (140 MB)"
	(cd "$dir" && apt_of "$DEBIAN" apt-get download -q "$SOURCE=$1") \
		>"$LOG" 2>&1 </dev/null ||
		fail "the source could not be downloaded; are the package lists in $APT too old?"
	dpkg-deb --fsys-tarfile "$dir"/*.deb |
		tar -xO "./usr/src/$SOURCE.tar.xz" |
		tar -xJ -C "$dir" --wildcards "${LEFT_OUT[@]/#/--exclude=}"
	echo "$1" >"$dir/$SOURCE/.debian-version"
	mv "$dir/$SOURCE" "$TREE"
	rm -r "$dir"
}

# Nothing that the caller's make or shell has set reaches the kernel's make.
kmake()
{
	env -i PATH="$PATH" HOME="$HOME" LC_ALL=C \
		KBUILD_BUILD_USER=xtun KBUILD_BUILD_HOST=xtun \
		make -C "$TREE" CC="$COMPILER" HOSTCC="$COMPILER" -j "$(nproc)" "$@" >>"$LOG" 2>&1 </dev/null
}

# The options of the fragment that a configuration does not have as written.
options_lost()
{
	local line option

	while read -r line; do
		case $line in
		CONFIG_*=*)
			grep -qxF -e "$line" "$1" || echo "${line%%=*}"
			;;
		'# CONFIG_'*' is not set')
			option=${line#'# '}
			option=${option%' is not set'}
			! grep -q "^$option=" "$1" || echo "$option"
			;;
		esac
	done <"$FRAGMENT"
}

# tinyconfig is allnoconfig with these three fragments.
configure()
{
	local lost

	(
		cd "$TREE"
		env -i PATH="$PATH" LC_ALL=C ARCH=x86_64 \
			MAKEFLAGS="CC=$COMPILER HOSTCC=$COMPILER" KCONFIG_CONFIG=.config.new scripts/kconfig/merge_config.sh -n \
			kernel/configs/tiny-base.config kernel/configs/tiny.config \
			arch/x86/configs/tiny.config "$FRAGMENT"
	) >"$LOG" 2>&1 </dev/null || fail "no configuration could be made"
	lost=$(options_lost "$TREE/.config.new" | tr '\n' ' ')
	[ -z "$lost" ] ||
		die "debug.config asks for what Kconfig does not give (a dependency is missing, or something else selects it): $lost"
	# A .config that did not change must keep its date, or all is compiled again.
	if cmp -s "$TREE/.config.new" "$TREE/.config"; then
		rm "$TREE/.config.new"
	else
		mv "$TREE/.config.new" "$TREE/.config"
	fi
}

compile()
{
	say "compiling the debug kernel, up to ten minutes on two idle processors (tail -f $LOG)"
	kmake bzImage modules || fail "the kernel does not compile"
}

# What modules are built with, as in Debian's header packages: no objects and
# no sources but the headers.
collect_build()
{
	local build=$1

	mkdir "$build"
	(
		cd "$TREE"
		{
			find . arch/x86 -maxdepth 1 -name 'Makefile*'
			find arch/x86/include include scripts -name dtc -prune \
				-o -type f ! -name '*.o' ! -name '.*.cmd' -print
			echo tools/objtool/objtool
			printf '%s\n' .config Module.symvers System.map Kbuild Kconfig
		} | tar -c --no-recursion -T - | tar -x -C "$build"
	)
}

collect()
{
	local release

	rm -rf "$NEW"
	mkdir "$NEW"
	kmake INSTALL_MOD_PATH="$NEW" modules_install || fail "modules_install failed"
	release=$(cat "$TREE/include/config/kernel.release")
	cp "$TREE/arch/x86/boot/bzImage" "$NEW/vmlinuz"
	collect_build "$NEW/build"
	ln -sfn ../../../build "$NEW/lib/modules/$release/build"
	rm -f "$NEW/lib/modules/$release/source"
}

# A machine that runs the kernel of before goes on reading its modules where the
# link led when it started: that folder stays until the next one is replaced.
publish()
{
	local before old

	before=$(readlink "$RESULT" || :)
	ln -sfn "$1" "$RESULT.new"
	mv -T "$RESULT.new" "$RESULT"
	for old in "$CACHE"/debug/*-????????; do
		case ${old##*/} in
		"$1"|"$before")	;;
		*)		rm -rf "$old" ;;
		esac
	done
}

size()
{
	du -shD "$1" | cut -f 1
}

make_kernel()
{
	local version=$1 start=$SECONDS

	has_source "$version" || unpack_source "$version"
	configure
	compile
	collect
	stamp "$version" >"$NEW/stamp"
	mv -T "$NEW" "$CACHE/debug/$(kernel_name "$version")"
	say "made in $((SECONDS - start)) s; kept to compile changes only: $(size "$WORK") in $WORK"
}

main()
{
	local version name

	[ $# -eq 0 ] || die "usage: debug-kernel.sh"
	mkdir -p "$WORK"
	exec 8>>"$WORK/lock"
	flock -n 8 || {
		say "waiting for another debug-kernel.sh to end"
		flock 8
	}
	# The compiler among them has a part in the kernel's name.
	install_packages
	version=$(source_version)
	if ! is_made "$version" && ! has_source "$version"; then
		apt_lists "$DEBIAN"
		version=$(source_version)
	fi
	[ -n "$version" ] ||
		die "Debian $DEBIAN has no package $SOURCE"
	name=$(kernel_name "$version")
	[ "$(readlink "$RESULT")" != "$name" ] || return 0
	is_made "$version" || make_kernel "$version"
	publish "$name"
	say "debug kernel $(kernel_release debug) in $RESULT:" \
	    "vmlinuz $(size "$RESULT/vmlinuz"), modules $(size "$RESULT/lib/modules")," \
	    "build $(size "$RESULT/build")"
}

main "$@"
