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
#	-r	only these rows of bench.py, with a comma between two
#
# Figures are left in build/bench/KERNEL.json.  The status is 0 if there are figures of
# every row, whatever they are.

set -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/../vm/common.sh"

OUT=$TOP/build/bench
LIMIT=3600

usage()
{
	sed -n '/^# usage/,/^#$/s/^#[ ]\{0,1\}//p' "$0" >&2
	exit 1
}

# count KERNEL: its figures into $OUT
count()
{
	local k=$1

	"$VM_DIR/vm.sh" -b --icount -K "$k" -t "$LIMIT" -c /usr/bin/python3 \
		selftests/bench/bench.py "${OPTIONS[@]}" >"$OUT/$k.log" 2>&1 || {
		tail -n 20 "$OUT/$k.log" >&2
		say "$k: no figures; all of it is in build/bench/$k.log"
		return 1
	}
	sed -n '/^{/,$p' "$OUT/$k.log" >"$OUT/$k.json"
}

main()
{
	local option k failed=0 report=()
	local -a kernels=() pids=()

	OPTIONS=()
	while getopts K:qur: option; do
		case $option in
		K)	kernel_dir "$OPTARG" >/dev/null; kernels+=("$OPTARG") ;;
		q)	OPTIONS+=(--quick) ;;
		u)	report+=(--update) ;;
		r)	OPTIONS+=(--rows "$OPTARG") ;;
		*)	usage ;;
		esac
	done
	[ "$OPTIND" -gt $# ] || usage
	[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12)
	"$VM_DIR/prepare.sh" packages "${kernels[@]}" || exit 1
	"$VM_DIR/build.sh" "${kernels[@]}" || exit 1
	mkdir -p "$OUT"
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
