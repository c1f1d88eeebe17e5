#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs tests inside a virtual machine, one after the other, and looks after
# each at what it left behind and at what the kernel said.  run-tests.sh
# starts it, and reads the lines that begin with @:
#
#	@begin TEST	@pass N	@skip N	@fail DESCRIPTION	@end TEST
#
# It ends early, with status 71, when the kernel can no longer be trusted:
# run-tests.sh then runs the tests that remain in a new machine.
#
# usage: guest.sh [-v] FIRST-NUMBER TEST...

set -u

# Nothing of this is ever expected, whoever it is about.
SPLAT='WARNING|\bBUG\b|\bOops\b|Call Trace|general protection fault|unable to handle'
SPLAT+='|KASAN|KCSAN|UBSAN|KFENCE|ODEBUG|use-after-free|out-of-bounds|double-free'
SPLAT+='|suspicious RCU|possible circular|possible recursive|possible irq lock'
SPLAT+='|inconsistent lock state|held lock freed|lock held when returning'
SPLAT+='|invalid wait context|sleeping function called|scheduling while atomic'
SPLAT+='|bad unlock balance|turning off the locking|soft lockup|hard LOCKUP|detected stall|self-detected'
SPLAT+='|INFO: task|blocked for more than|unregister_netdevice: waiting'
SPLAT+='|refcount|ref_tracker|leaked reference|unreferenced object|memory leak'
SPLAT+='|kernel tried to execute|Objects remaining|list_(add|del) corruption'
SPLAT+='|page allocation failure'

UNTRUSTED=71
RMMOD_LIMIT=60
OUT=/tmp/ktap
GROUP=/sys/fs/cgroup/test

# The time that settings gives each test, as kselftest's runner reads it.
time_limit()
{
	sed -n 's/^timeout=//p' settings | grep . || echo 45
}

mark_log()
{
	echo "xtun-test: $1" >/dev/kmsg
}

# What the kernel said since a mark; all of it if the mark is gone.
log_since()
{
	dmesg | awk -v mark="xtun-test: $1" '
		{ line[++n] = $0 }
		substr($0, length($0) - length(mark) + 1) == mark { n = 0 }
		END { for (i = 1; i <= n; i++) print line[i] }'
}

# In a control group of its own: whatever it starts stays in there.  Its output
# goes to a file: a pipe would stay open as long as a process that it left.
run_test()
{
	local limit test

	limit=$(time_limit)
	mkdir -p "$GROUP"
	(
		echo "$BASHPID" >"$GROUP/cgroup.procs"
		exec timeout -k 20 "$limit" "./$1" >"$OUT" 2>&1 </dev/null
	) &
	test=$!
	[ -z "$VERBOSE" ] || tail -n +1 -s 0.2 -f --pid="$test" "$OUT" | sed -u 's/^/  /'
	wait "$test"
	STATUS=$?
	case $STATUS in
	124|137)	fail "it did not end in $limit s and was killed" ;;
	esac
}

# fail DESCRIPTION: one more failure of the test at hand.
fail()
{
	echo "@fail $*"
	FAILED=$((FAILED + 1))
}

# Counts the top level of the test's KTAP; what is indented belongs to it.
judge_ktap()
{
	local verb rest

	while read -r verb rest; do
		case $verb in
		pass)	PASSED=$rest ;;
		skip)	SKIPPED=$rest ;;
		fail)	fail "$rest" ;;
		esac
	done < <(awk -v status="$STATUS" '
		function description(text) {
			sub(/^(not )?ok [0-9]+ *(- )?/, "", text)
			return text
		}
		/^1\.\.0/		{ plan = 0; planned = 1; skip++; next }
		/^1\.\.[0-9]+/		{ plan = substr($1, 4) + 0; planned = 1; next }
		/^ok [0-9]+/		{ if (/# SKIP/) skip++; else pass++; seen++; next }
		/^not ok [0-9]+/	{ print "fail " description($0); bad++; seen++; next }
		/^Bail out!/		{ print "fail " $0; bad++; next }
		END {
			print "pass " pass + 0
			print "skip " skip + 0
			if (!planned)
				print "fail it printed no plan (exit status " status ")"
			else if (seen + 0 != plan)
				print "fail it planned " plan " subtests and did " seen + 0 \
				      " (exit status " status ")"
			else if (!bad && status != 0 && !(status == 4 && !pass))
				print "fail no subtest failed, but its exit status is " status
			else if (bad && status == 0)
				print "fail a subtest failed, but its exit status is 0"
		}' "$OUT")
}

# Processes of the test that outlive it, given a moment to end.
end_processes()
{
	local left

	for _ in 1 2 3 4 5 6 7 8 9 10; do
		left=$(<"$GROUP/cgroup.procs")
		[ -n "$left" ] || return 0
		sleep 0.2
	done
	# shellcheck disable=SC2086 # one word for each process
	fail "processes left running: $(ps -o comm= -p ${left//$'\n'/ } | sort -u | xargs)"
	echo 1 >"$GROUP/cgroup.kill"
}

end_namespaces()
{
	local left name

	left=$(ip netns list | cut -d' ' -f1)
	[ -n "$left" ] || return 0
	fail "network namespaces left: $(echo "$left" | xargs)"
	for name in $left; do
		ip netns delete "$name"
	done
}

end_devices()
{
	local left

	left=$(ip -o link show type xtun 2>/dev/null | awk -F': ' '{ print $2 }')
	[ -z "$left" ] || fail "devices left in the first namespace: $(echo "$left" | xargs)"
}

unload()
{
	[ -d /sys/module/xtun ] || return 0
	# It has a user for as long as its namespaces are being taken down.
	timeout -k 5 "$RMMOD_LIMIT" bash -c \
		'until rmmod xtun 2>/tmp/rmmod; do sleep 0.2; done' && return
	fail "rmmod xtun failed for $RMMOD_LIMIT s: $(cat /tmp/rmmod)"
	echo w >/proc/sysrq-trigger
	END_EARLY=1
}

loaded_modules()
{
	cut -d' ' -f1 /proc/modules | sort
}

new_modules()
{
	loaded_modules | comm -13 /tmp/modules -
}

# Each test finds the modules of a fresh machine: some drivers do things, such as
# believing an ICMP error, in every namespace and without any device of theirs.
unload_others()
{
	local module before='' left

	left=$(new_modules)
	while [ "$left" != "$before" ]; do
		before=$left
		for module in $left; do
			rmmod "$module" 2>/dev/null
		done
		left=$(new_modules)
	done
}

# Two scans: what the first finds may have been in motion.
scan_leaks()
{
	local kmemleak=/sys/kernel/debug/kmemleak

	[ -w "$kmemleak" ] || return 0
	sleep 6		# younger objects are not looked at
	echo scan >"$kmemleak"
	echo scan >"$kmemleak"
	cat "$kmemleak" >/tmp/leaks
	echo clear >"$kmemleak"
	[ -s /tmp/leaks ] || return 0
	fail "kmemleak: $(grep -c '^unreferenced' /tmp/leaks) objects leaked"
	sed 's/^/  # /' /tmp/leaks | head -n 60
}

check_log()
{
	local log

	log=$(log_since "$1")
	grep -q -E "$SPLAT" <<<"$log" || return 0
	fail "the kernel complained: $(grep -m 1 -E "$SPLAT" <<<"$log")"
	tail -n 120 <<<"$log" | sed 's/^/  # /'
	END_EARLY=1
}

tell_test()
{
	local number=$1 name=$2 seconds=$3 total=$((PASSED + SKIPPED + FAILED))

	if [ "$FAILED" -eq 0 ]; then
		echo "ok $number $name $XTUN_K ($total subtests, $seconds s)"
	else
		[ -n "$VERBOSE" ] || sed 's/^/  /' "$OUT"
		echo "not ok $number $name $XTUN_K ($FAILED of $total failed, $seconds s)"
	fi
}

one_test()
{
	local number=$1 test=$2 name=${2%.*} start=$SECONDS

	PASSED=0 SKIPPED=0 FAILED=0
	echo "@begin $test"
	echo "# $name $XTUN_K ..."
	mark_log "$number $name"
	: >"$OUT"
	run_test "$test"
	judge_ktap
	end_processes
	end_namespaces
	end_devices
	unload
	unload_others
	scan_leaks
	check_log "$number $name"
	echo "@pass $PASSED"
	echo "@skip $SKIPPED"
	tell_test "$number" "$name" $((SECONDS - start))
	echo "@end $test"
}

main()
{
	local number

	VERBOSE=
	END_EARLY=
	[ "$1" != -v ] || { VERBOSE=1; shift; }
	number=$1
	shift
	cd "$XTUN_TOP/selftests" || exit 1
	mark_log start
	loaded_modules >/tmp/modules
	for test in "$@"; do
		one_test "$number" "$test"
		number=$((number + 1))
		[ -z "$END_EARLY" ] || exit "$UNTRUSTED"
	done
}

main "$@"
