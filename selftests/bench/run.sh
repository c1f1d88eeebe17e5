#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Counts what tunnels cost, in virtual machines that count instructions, and compares it
# with what was counted before.  Noise on this machine changes nothing but the time that
# it takes.
#
# usage: run.sh [-K KERNEL]... [-q] [-u] [-r ROWS]
#	-K	6.1, 6.12 or 7.3; without it 6.1 and 6.12
#	-q	the short way
#	-u	write the figures down: Documentation/performance/
#	-p	only what profiles are of: neither TCP nor tunnels in numbers
#	-r	only these rows of bench.py, with a comma between two
#
# Figures are left in build/bench/KERNEL.json, and in build/bench/KERNEL.profile which
# functions the instructions are of.  The status is 0 if there are figures of every row,
# whatever they are.

set -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/../vm/common.sh"

OUT=$TOP/build/bench
LIMIT=3600
PLUGIN=$OUT/profile.so

usage()
{
	sed -n '/^# usage/,/^#$/s/^#[ ]\{0,1\}//p' "$0" >&2
	exit 1
}

# The version of qemu's interface for plug-ins that profile.c is made for: Debian 12's
# qemu is 7.2, Debian 13's 10.0, which takes none before the second.
plugin_api()
{
	local major

	major=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
	if [ "${major:-0}" -lt 9 ]; then echo 1; else echo 4; fi
}

# Builds the plug-in, and has qemu load it, without a machine.
make_plugin()
{
	local name

	gcc -Wall -Werror -O2 -fPIC -shared -fvisibility=hidden "-DPLUGIN_API=$(plugin_api)" \
		-o "$PLUGIN" "$TOP/selftests/bench/profile.c" || return 1
	# Without the version qemu says only that it has no symbol.
	for name in qemu_plugin_version qemu_plugin_install; do
		nm -D --defined-only "$PLUGIN" | grep -q " $name\$" || {
			say "$PLUGIN does not export $name"
			return 1
		}
	done
	timeout 20 qemu-system-x86_64 -M none -nodefaults -display none -monitor stdio \
		-plugin "$PLUGIN,out=/dev/null" <<<quit >/dev/null
}

# count KERNEL: its figures into $OUT
count()
{
	local k=$1 blocks=$OUT/$1.blocks
	local -a plugin=()

	rm -f "$OUT/$k.json" "$OUT/$k.profile" "$blocks"
	[ -z "$PLUGIN" ] || plugin=(--plugin "$PLUGIN,out=$blocks")
	"$VM_DIR/vm.sh" -b --icount "${plugin[@]}" -K "$k" -t "$LIMIT" -c /usr/bin/python3 \
		selftests/bench/bench.py "${OPTIONS[@]}" >"$OUT/$k.log" 2>&1 || {
		grep -v '^{' "$OUT/$k.log" | tail -n 20 >&2
		say "$k: no figures; all of it is in build/bench/$k.log"
		return 1
	}
	sed -n '/^{/,$p' "$OUT/$k.log" >"$OUT/$k.json"
	sed -i '/^{/,$d' "$OUT/$k.log"
	/usr/bin/python3 "$TOP/selftests/bench/profile.py" "$OUT/$k" \
		${PLUGIN:+"$blocks"} || return 1
	rm -f "$blocks"
}

main()
{
	local option k failed=0 report=()
	local -a kernels=() pids=()

	OPTIONS=()
	while getopts K:pqur: option; do
		case $option in
		K)	kernel_dir "$OPTARG" >/dev/null; kernels+=("$OPTARG") ;;
		p)	OPTIONS+=(--profile) ;;
		q)	OPTIONS+=(--quick) ;;
		u)	report+=(--update) ;;
		r)	OPTIONS+=(--rows "$OPTARG") ;;
		*)	usage ;;
		esac
	done
	[ "$OPTIND" -gt $# ] || usage
	[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12)
	"$VM_DIR/prepare.sh" packages "${kernels[@]}" || exit 1
	"$VM_DIR/prepare.sh" bench || say "clang is missing: without the figures of BPF programs"
	"$VM_DIR/build.sh" "${kernels[@]}" || exit 1
	mkdir -p "$OUT"
	make_plugin || {
		say "qemu does not take the plug-in: without locked instructions and profiles"
		PLUGIN=
	}
	"$TOP/selftests/bench/tcbpf.py" || say "there are no BPF programs: without their figures"
	for k in "${kernels[@]}"; do
		say "counting on $k"
		count "$k" &
		pids+=($!)
	done
	for k in "${pids[@]}"; do
		wait "$k" || failed=1
	done
	[ "$failed" -eq 0 ] || exit 1
	exec /usr/bin/python3 "$TOP/selftests/bench/report.py" "${report[@]}" \
		"${kernels[@]/#/$OUT/}"
}

main "$@"
