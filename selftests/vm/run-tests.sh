#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds xtun for each kernel, boots virtual machines with it, runs the tests
# there and sums up.  Nothing is loaded into this machine's own kernel.
#
# usage: run-tests.sh [-K KERNEL]... [-T TEST]... [-j N] [-s SEED] [-t SECONDS] [-v]
#	-K	6.1, 6.12, 7.3 or debug; without it all but debug
#	-T	one test of selftests/Makefile, as ttl or ttl.py; without it all of
#		TEST_PROGS
#	-j	so many machines at a time; without it three for two processors, as
#		far as there is memory and disk space
#	-s	what tests choose by chance, they choose by this number (1)
#	-t	time limit for everything (7200)
#	-v	show every subtest, not only those of a test that fails
#
# A file that fails is run once more, alone in a fresh machine.  When it passes
# then, it is told as "by chance: FILE: SUBTEST, kernel K, seed N" and is no
# failure.  What a file has printed is in build/log/KERNEL/FILE.log, and of the
# second time in FILE.again.log.
#
# The last line is "N passed, N failed", in subtests, and ", N skipped" if some
# were; the status is 0 only if nothing failed and something passed.

set -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

usage()
{
	sed -n '/^# usage/,/^#$/s/^#[ ]\{0,1\}//p' "$0" >&2
	exit 1
}

# number TEXT: a whole number above 0, without which there is nothing to run.
number()
{
	[[ $1 =~ ^[1-9][0-9]*$ ]] || usage
}

parse_options()
{
	local option

	WANTED=() TESTS=() OPTIONS=() LIMIT=7200 SEED=1
	while getopts K:T:j:s:t:v option; do
		case $option in
		K)	kernel_dir "$OPTARG" >/dev/null; WANTED+=("$OPTARG") ;;
		T)	TESTS+=("$OPTARG") ;;
		j)	number "$OPTARG"; OPTIONS+=(--jobs "$OPTARG") ;;
		s)	number "$OPTARG"; SEED=$OPTARG ;;
		t)	number "$OPTARG"; LIMIT=$OPTARG ;;
		v)	OPTIONS+=(--verbose) ;;
		*)	usage ;;
		esac
	done
	[ "$OPTIND" -gt $# ] || usage
	# shellcheck disable=SC2206 # a list of words
	[ ${#WANTED[@]} -gt 0 ] || WANTED=($KERNELS)
}

# list_tests VARIABLE: of selftests/Makefile, without make, which a fresh machine does
# not have yet.
list_tests()
{
	sed -n "/^$1 :=/,/[^\\\\]\$/s/^\t\([a-z0-9]*\.py\).*/\1/p" "$TOP/selftests/Makefile"
}

# Replaces what the user named by what is listed in selftests/Makefile.
choose_tests()
{
	local -a listed others chosen=()
	local name test found

	mapfile -t listed < <(list_tests TEST_PROGS)
	mapfile -t others < <(list_tests TEST_PROGS_EXTENDED)
	for name in "${TESTS[@]}"; do
		found=
		for test in "${listed[@]}" "${others[@]}"; do
			[ "$name" != "$test" ] && [ "$name" != "${test%.*}" ] || found=$test
		done
		[ -n "$found" ] || die "no test '$name'; there are: ${listed[*]%.*} ${others[*]%.*}"
		chosen+=("$found")
	done
	[ ${#TESTS[@]} -gt 0 ] || chosen=("${listed[@]}")
	TESTS=("${chosen[@]}")
	[ ${#TESTS[@]} -gt 0 ] || die "TEST_PROGS in selftests/Makefile lists no test"
}

main()
{
	local more="" smp

	parse_options "$@"
	choose_tests
	mapfile -t smp < <(list_tests TEST_SMP)
	# source: netlink.py speaks to the module with the kernel's own client.
	# openvswitch: openvswitch.py has it for a peer; bird: routing.py; dkms: install.py.
	[[ " ${TESTS[*]} " != *" install.py "* ]] || more=dkms
	"$VM_DIR/prepare.sh" packages source openvswitch bird $more || exit 1
	say "a shell in such a machine: make shell K=${WANTED[0]}"
	exec /usr/bin/python3 "$VM_DIR/run_tests.py" --cache "$CACHE" --kernels "${WANTED[@]}" \
		--tests "${TESTS[@]}" --smp "${smp[@]}" --limit $((LIMIT - SECONDS)) --seed "$SEED" "${OPTIONS[@]}"
}

main "$@"
