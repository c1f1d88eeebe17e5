#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds xtun for each kernel, boots a virtual machine with it, runs the tests
# there and sums up.  Nothing is loaded into this machine's own kernel.
#
# usage: run-tests.sh [-K KERNEL]... [-T TEST]... [-t SECONDS] [-v]
#	-K	6.1, 6.12 or debug; without it 6.1 and 6.12
#	-T	one test of TEST_PROGS in selftests/Makefile, as gre or gre.py;
#		without it all of them
#	-t	time limit for everything (7200)
#	-v	show every subtest, not only those of a test that fails
#
# The last line is "N passed, N failed", in subtests, and ", N skipped" if some
# were; the status is 0 only if nothing failed and something passed.

set -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

VM_OVERHEAD=30		# seconds to keep for ending in good order
UNTRUSTED=71

usage()
{
	sed -n '/^# usage/,/^#$/s/^#[ ]\{0,1\}//p' "$0" >&2
	exit 1
}

parse_options()
{
	local option

	WANTED=() TESTS=() VERBOSE='' LIMIT=7200
	while getopts K:T:t:v option; do
		case $option in
		K)	WANTED+=("$OPTARG") ;;
		T)	TESTS+=("$OPTARG") ;;
		t)	LIMIT=$OPTARG ;;
		v)	VERBOSE=-v ;;
		*)	usage ;;
		esac
	done
	[ "$OPTIND" -gt $# ] || usage
	# shellcheck disable=SC2206 # a list of words
	[ ${#WANTED[@]} -gt 0 ] || WANTED=($KERNELS)
}

# Replaces what the user named by what is listed in selftests/Makefile.
choose_tests()
{
	local -a listed chosen=()
	local name test found

	read -r -a listed < <(make -s -C "$TOP/selftests" list)
	for name in "${TESTS[@]}"; do
		found=
		for test in "${listed[@]}"; do
			[ "$name" != "$test" ] && [ "$name" != "${test%.*}" ] || found=$test
		done
		[ -n "$found" ] || die "no test '$name'; there are: ${listed[*]%.*}"
		chosen+=("$found")
	done
	[ ${#TESTS[@]} -gt 0 ] || chosen=("${listed[@]}")
	TESTS=("${chosen[@]}")
	[ ${#TESTS[@]} -gt 0 ] || die "TEST_PROGS in selftests/Makefile lists no test"
}

time_left()
{
	echo $((LIMIT - SECONDS))
}

# Adds a failure that no test could tell: KERNEL DESCRIPTION
add_failure()
{
	echo "$1 @fail $2" >>"$RESULTS"
}

# One machine for the tests that are still to be run.  guest.sh's lines that
# begin with @ go to the results, with the kernel and the test before them.
run_machine()
{
	local k=$1 number=$2
	shift 2

	"$VM_DIR/vm.sh" -K "$k" -t $(($(time_left) - VM_OVERHEAD)) \
		-c bash "$VM_DIR/guest.sh" ${VERBOSE:+"$VERBOSE"} "$number" "$@" |
	while IFS= read -r line; do
		case $line in
		@*)	echo "$k $line" >>"$RESULTS" ;;
		*)	printf '%s\n' "$line" ;;
		esac
	done
	return "${PIPESTATUS[0]}"
}

# How many tests have been begun on a kernel.
begun()
{
	grep -c "^$1 @begin " "$RESULTS"
}

ended()
{
	grep -c "^$1 @end " "$RESULTS"
}

# All tests on one kernel: in one machine, unless it dies or its kernel can no
# longer be trusted; what remains is then run in a fresh one.
run_kernel()
{
	local k=$1 status done_before

	done_before=0
	while [ "$done_before" -lt ${#TESTS[@]} ]; do
		if [ "$(time_left)" -le $((2 * VM_OVERHEAD)) ]; then
			add_failure "$k" "no time left for: ${TESTS[*]:done_before}"
			return
		fi
		run_machine "$k" $((done_before + 1)) "${TESTS[@]:done_before}"
		status=$?
		if [ "$(begun "$k")" -gt "$(ended "$k")" ]; then
			add_failure "$k" "the machine did not survive it"
			echo "$k @end -" >>"$RESULTS"
		elif [ "$status" -ne 0 ] && [ "$status" -ne "$UNTRUSTED" ]; then
			add_failure "$k" "the machine failed with status $status before: ${TESTS[*]:$(begun "$k")}"
			return
		fi
		done_before=$(ended "$k")
	done
}

# tell_shell KERNEL...
tell_shell()
{
	local k

	for k in "$@"; do
		say "a shell in such a machine: make shell K=$k"
	done
}

# The kernels on which something failed.
failing()
{
	awk '$2 == "@fail" && !seen[$1]++ { print $1 }' "$RESULTS"
}

sum_up()
{
	awk '
		$2 == "@begin"	{ test = $3; sub(/\.[a-z]*$/, "", test); next }
		$2 == "@pass"	{ pass += $3; next }
		$2 == "@skip"	{ skip += $3; next }
		$2 == "@end"	{ test = ""; next }
		$2 == "@fail" {
			fail++
			kernel = $1
			sub(/^[^ ]* @fail /, "")
			print "failed: " kernel (test ? " " test : "") ": " $0
		}
		END {
			printf "%d passed, %d failed", pass, fail
			printf skip ? ", %d skipped\n" : "\n", skip
			exit !(pass && !fail)
		}' "$RESULTS"
}

main()
{
	local k

	parse_options "$@"
	# source: netlink.py speaks to the module with the kernel's own client.
	# openvswitch: openvswitch.py has it for a peer.
	"$VM_DIR/prepare.sh" packages "${WANTED[@]}" source openvswitch || exit 1
	mkdir -p "$TOP/build"
	RESULTS=$(mktemp "$TOP/build/results.XXXXXX")
	trap 'rm -f "$RESULTS"' EXIT
	choose_tests
	[ ${#TESTS[@]} -gt 1 ] || tell_shell "${WANTED[@]}"
	for k in "${WANTED[@]}"; do
		if "$VM_DIR/build.sh" "$k"; then
			run_kernel "$k"
		else
			add_failure "$k" "the build failed"
		fi
	done
	# shellcheck disable=SC2046 # a list of words
	[ ${#TESTS[@]} -eq 1 ] || tell_shell $(failing)
	sum_up
}

main "$@"
