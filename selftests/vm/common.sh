# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts of this folder share: where things are, which kernels
# there are, and how to speak to the user.  Sourced, never run.

# Not /usr/local: a python3 or an ip that somebody put there is not the one
# whose packages prepare.sh installs.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
# What the caller's make, shell or Python was told is not meant for what is started here.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES KBUILD_OUTPUT ARCH CROSS_COMPILE CDPATH
unset PYTHONHOME PYTHONPATH PYTHONIOENCODING LANGUAGE
export LC_ALL=C.UTF-8
: "${HOME:=$(getent passwd "$(id -u)" | cut -d : -f 6)}"
export HOME

VM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck disable=SC2034 # read by those who source this
TOP=$(cd "$VM_DIR/../.." && pwd -P)
CACHE=$(realpath -m "${XTUN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/xtun}")

# A Debian whose compiler and C library are newer than those of this machine may be.
# shellcheck disable=SC2034 # read by those who source this
BUILD_ROOT=$CACHE/root/trixie

case $TOP$CACHE in
*[[:space:],:]*)
	echo "neither the checkout ($TOP) nor the cache ($CACHE) may have a space, a comma or a colon in its path; XTUN_CACHE=FOLDER takes another cache" >&2
	exit 1
	;;
esac

# The kernels that the module is made for, as Debian names them.
# shellcheck disable=SC2034 # read by those who source this
KERNELS="6.1 6.12 7.3"

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# The name of the Debian release that this machine runs, or nothing.
own_release()
{
	local ID='' VERSION_ID=''

	# shellcheck source=/dev/null
	[ ! -r /etc/os-release ] || . /etc/os-release
	case "$ID $VERSION_ID" in
	"debian 12")	echo bookworm ;;
	"debian 13")	echo trixie ;;
	esac
}

# The folder of one kernel: vmlinuz, release, build/ and lib/modules/.
kernel_dir()
{
	case $1 in
	6.1|6.12|7.3)	echo "$CACHE/kernel/$1" ;;
	debug)		echo "$CACHE/debug/6.1" ;;
	*)		die "no kernel '$1': use 6.1, 6.12, 7.3 or debug" ;;
	esac
}

# A kernel's folder appears under its name only when it is complete.
kernel_ready()
{
	[ -e "$(kernel_dir "$1")/vmlinuz" ]
}

# The release that a kernel calls itself, which names its folder of modules.
kernel_release()
{
	local tree

	for tree in "$(kernel_dir "$1")"/lib/modules/*; do
		basename "$tree"
		return
	done
}

# The compiler that a kernel's headers ask for.
kernel_compiler()
{
	grep -h -o 'gcc-[0-9]*$' "$(kernel_dir "$1")/build/.kernelvariables" 2>/dev/null ||
		echo gcc-12
}

# Whether modules for a kernel can be built with what this machine has: its compiler,
# and a C library that is not too old for the tools among the headers.
builds_here()
{
	local tool said

	tool=$(kernel_dir "$1")/build/scripts/mod/modpost
	# In Debian's headers it is a small program that starts this one.
	[ ! -e "$tool.real-lsb-64" ] || tool+=.real-lsb-64
	said=$(ldd "$tool" 2>&1 || :)
	type -P "$(kernel_compiler "$1")" >/dev/null && [[ $said != *"not found"* ]]
}

# kernel_make KERNEL ARG...: make with the kernel's headers, here or in the folder
# that prepare.sh has made for that.
kernel_make()
{
	local k=$1 build
	shift

	build=$(kernel_dir "$k")/build
	if builds_here "$k"; then
		make -C "$build" -j "$(nproc)" CC="$(kernel_compiler "$k")" "$@"
	else
		"$VM_DIR/in-root.sh" "$BUILD_ROOT" make -C "$build" -j "$(nproc)" "$@"
	fi
}

# link_sources FOLDER: the module's sources, as links, for a build of its own.
link_sources()
{
	local dir=$1 path

	mkdir -p "$dir"
	ln -sfn "$TOP/uapi" "$dir/uapi"
	(cd "$TOP" && find kmod selftests/bench -type f \( -name '*.[ch]' -o -name Kbuild \)) |
	while read -r path; do
		mkdir -p "$dir/$(dirname "$path")"
		ln -sfn "$TOP/$path" "$dir/$path"
	done
	# What was removed or renamed since.
	find -L "$dir" -type l -delete
}
