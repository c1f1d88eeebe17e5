#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a virtual machine, runs one command in it as root and exits with that
# command's status.  The machine's root is this machine's own file system,
# which it can read but not change: what it writes lives in its memory.  It
# has no network card; the command runs in the folder of the checkout.
#
# usage: vm.sh [OPTION...] -c COMMAND [ARG...]
#        vm.sh [OPTION...] --shell
#	-K KERNEL	6.1 (the default), 6.12, 7.3 or debug
#	-t SECONDS	time limit for the command (1800; none for --shell)
#	-p N		so many processors (2)
#	-i FIFO		what is written into it is the command's standard input,
#			without an end
#	-b		beside other machines; without it, it waits until they have ended
#			and prepares what it needs
#	--icount	count instructions: one processor, the same from run to run
#	--plugin SPEC	a plug-in of qemu and its words, as qemu has them; the kernel keeps
#			the locks of its instructions on one processor, too
#	-c		the rest of the line is the command, given as it is
#	--shell		a shell on this terminal; leave it with exit or ctrl-d
# XTUN_ACCEL, as "tcg max" or "kvm host", overrides the choice of qemu's
# accelerator and processor that is otherwise found by trying.
#
# In the command's environment: XTUN_TOP, XTUN_K, XTUN_KO (the module built
# for that kernel by build.sh), XTUN_CACHE, XTUN_HOST (the port of host.py),
# IP_LIB_DIR; tunctl is in its PATH.
#
# Exit status: the command's; 70 when the guest died, hung or ran out of time
# (what its console said last is shown); 1 when it could not be started.

set -u
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

K=6.1
LIMIT=
PROCESSORS=2
MODE=
ICOUNT=
PLUGIN=
INPUT=
BESIDE=
TCG="tcg,thread=multi max"
RUN=
QEMU_PID=
HOST_PID=

BOOT_LIMIT=180		# seconds to user space; ten are usual without KVM
POWEROFF_LIMIT=30
PROBE_LIMIT=20
DIED=70

usage()
{
	sed -n '/^# usage/,/^# XTUN_ACCEL/{/^# XTUN/!s/^#[ ]\{0,1\}//p}' "$0" >&2
	exit 1
}

parse_options()
{
	while [ $# -gt 0 ]; do
		case $1 in
		-K)		[ $# -ge 2 ] || usage; K=$2; shift ;;
		-t)		[ $# -ge 2 ] || usage; LIMIT=$2; shift ;;
		-p)		[ $# -ge 2 ] || usage; PROCESSORS=$2; shift ;;
		-i)		[ $# -ge 2 ] || usage; INPUT=$2; shift ;;
		-b)		BESIDE=1 ;;
		--icount)	ICOUNT=1 ;;
		--plugin)	[ $# -ge 2 ] || usage; PLUGIN=$2; shift ;;
		--shell)	MODE=shell ;;
		-c)		MODE='command'; shift; break ;;
		*)		usage ;;
		esac
		shift
	done
	case $MODE in
	command)	[ $# -gt 0 ] || usage; : "${LIMIT:=1800}" ;;
	shell)		[ -t 0 ] || die "--shell needs a terminal"; : "${LIMIT:=0}" ;;
	*)		usage ;;
	esac
	COMMAND=("$@")
}

# shellcheck disable=SC2317 # called by a trap
cleanup()
{
	[ -z "$QEMU_PID" ] || kill -KILL "$QEMU_PID" 2>/dev/null
	[ -z "$HOST_PID" ] || kill -KILL "$HOST_PID" 2>/dev/null
	[ -z "$RUN" ] || rm -rf "$RUN"
}

# One machine at a time: more would take each other's processors, and tests would
# starve.  run_tests.py holds the lock for all the machines that it starts.
take_lock()
{
	[ -z "$BESIDE" ] || return 0
	exec 9>>"$CACHE/vm.lock"
	flock -n 9 && return
	say "waiting for another virtual machine to end ($(cat "$CACHE/vm.holder" 2>/dev/null))"
	flock 9
}

tell_holder()
{
	[ -z "$BESIDE" ] || return 0
	echo "process $$, kernel $K: ${COMMAND[*]:-shell}" | cut -c1-120 >"$CACHE/vm.holder"
}

# What a vm.sh that was killed left behind: its process is in the name.
remove_stale_runs()
{
	local dir

	for dir in "$CACHE"/vm.run.*; do
		kill -0 "${dir##*.}" 2>/dev/null || rm -rf "$dir"
	done
}

# The modules that the guest needs before it sees its root, in the order of
# their loading; what is built into the kernel is left out.
collect_modules()
{
	local word path

	mkdir "$RUN/root/modules"
	: >"$RUN/order"
	modprobe -d "$(kernel_dir "$K")" -S "$RELEASE" --show-depends -a \
		virtio_pci virtio_console 9pnet_virtio 9p overlay |
	while read -r word path; do
		[ "$word" = insmod ] || continue
		basename "$path" >>"$RUN/order"
		cp "$path" "$RUN/root/modules/"
	done
	awk '!seen[$0]++' "$RUN/order" >"$RUN/root/modules/order"
}

write_conf()
{
	local rows=24 columns=80

	[ "$MODE" != shell ] || read -r rows columns < <(stty size)
	cat >"$RUN/root/vm.conf" <<-END
	VM_TOP=$(printf %q "$TOP")
	VM_CACHE=$(printf %q "$CACHE")
	VM_MODULES=$(printf %q "$(realpath "$(kernel_dir "$K")/lib/modules/$RELEASE")")
	VM_RELEASE=$RELEASE
	VM_K=$K
	VM_BUILD=$(printf %q "$TOP/build/$K")
	VM_SHELL=$([ "$MODE" != shell ] || printf %q "$TERM")
	VM_ROWS=$rows
	VM_COLUMNS=$columns
	END
	printf '%q ' "${COMMAND[@]}" >"$RUN/root/command"
}

make_initramfs()
{
	local hot

	hot=$("$VM_DIR/hot.sh") || die "the layer of hot files could not be made"
	mkdir -p "$RUN"/root/{bin,dev,proc,sys,host,root,layer}
	cp /bin/busybox "$RUN/root/bin/"
	ln -s busybox "$RUN/root/bin/sh"
	cp "$VM_DIR/init.sh" "$RUN/root/init"
	chmod +x "$RUN/root/init"
	collect_modules
	write_conf
	# The kernel takes several archives, one behind the other.
	cp "$hot" "$RUN/initramfs" || die "no space for the initramfs in $RUN"
	(cd "$RUN/root" && find . | busybox cpio -o -H newc 2>/dev/null) >>"$RUN/initramfs" ||
		die "the initramfs could not be made in $RUN"
}

# start_qemu ACCEL CPU: in the background; its console goes to a file.
start_qemu()
{
	# no_timer_check: on a busy machine the timer may be late for a test of it, and
	# the kernel gives up ("IO-APIC + timer doesn't work").
	local append="console=ttyS0 loglevel=5 panic=-1 nokaslr mitigations=off log_buf_len=4M no_timer_check"
	local kernel
	local -a args

	# Unpacked it boots a second sooner: the guest need not unpack it.
	[ -z "$PLUGIN" ] || append+=" noreplace-smp"
	kernel=$(kernel_dir "$K")/vmlinux
	[ -e "$kernel" ] || kernel=$(kernel_dir "$K")/vmlinuz
	# shellcheck disable=SC2054 # the commas are qemu's
	args=(-nodefaults -no-user-config -no-reboot -display none -m 3072
	      -accel "$1" -cpu "$2"
	      -kernel "$kernel" -initrd "$RUN/initramfs"
	      -append "$append"
	      -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
	      -serial "file:$RUN/console"
	      # Without ioeventfd all that the guest wrote has arrived when it ends.
	      -device virtio-serial-pci,ioeventfd=off
	      -chardev "file,id=status,path=$RUN/status"
	      -device virtserialport,chardev=status,name=status)
	if [ -n "$ICOUNT" ]; then
		args+=(-smp 1 -icount shift=0)
	else
		args+=(-smp "$PROCESSORS")
	fi
	[ -z "$PLUGIN" ] || args+=(-plugin "$PLUGIN")
	if [ "$MODE" = shell ]; then
		# shellcheck disable=SC2054
		args+=(-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty)
	else
		# shellcheck disable=SC2054
		args+=(-chardev "file,id=output,path=$RUN/output"
		       -device virtserialport,chardev=output,name=output)
	fi
	if [ "$MODE" = command ]; then
		mkfifo "$RUN/host.in" "$RUN/host.out"
		# shellcheck disable=SC2054
		args+=(-chardev "pipe,id=host,path=$RUN/host"
		       -device virtserialport,chardev=host,name=host)
		setpriv --pdeathsig KILL /usr/bin/python3 "$VM_DIR/host.py" "$RUN/host" \
			</dev/null >>"$RUN/qemu" 2>&1 9>&- &
		HOST_PID=$!
	fi
	if [ -n "$INPUT" ]; then
		# shellcheck disable=SC2054
		args+=(-chardev "pipe,id=input,path=$INPUT"
		       -device virtserialport,chardev=input,name=input)
	fi
	: >"$RUN/status"
	: >"$RUN/output"
	: >"$RUN/console"
	setpriv --pdeathsig KILL qemu-system-x86_64 "${args[@]}" <&0 2>"$RUN/qemu" &
	QEMU_PID=$!
}

# What the guest has told: "up" once it is in user space, "exit N" at the end.
told()
{
	local line

	while read -r line; do
		# shellcheck disable=SC2254 # a pattern
		case $line in
		$1)	return 0 ;;
		esac
	done <"$RUN/status"
	return 1
}

out_of_time()
{
	[ "$LIMIT" -gt 0 ] && [ "$1" -ge "$LIMIT" ]
}

# Sets VERDICT when it is time to lose patience.
judge_time()
{
	local now=$1

	if told 'exit *'; then
		: "${ENDED:=$now}"
		[ $((now - ENDED)) -lt "$POWEROFF_LIMIT" ] ||
			VERDICT="the guest did not power off"
	elif ! told up; then
		[ "$now" -lt "$BOOT_LIMIT" ] && ! out_of_time "$now" ||
			VERDICT="the guest did not reach user space in $now s"
	elif out_of_time "$now"; then
		VERDICT="the command did not end in $LIMIT s"
	fi
}

# Waits until the guest has powered off; kills it when it takes too long.
wait_for_guest()
{
	local start=$SECONDS

	VERDICT='' ENDED=''
	while kill -0 "$QEMU_PID" 2>/dev/null; do
		judge_time $((SECONDS - start))
		if [ -n "$VERDICT" ]; then
			kill -KILL "$QEMU_PID"
			break
		fi
		sleep 0.1
	done
	wait "$QEMU_PID"
	QEMU_STATUS=$?
	QEMU_PID=
	[ -n "$VERDICT" ] || [ "$QEMU_STATUS" -le 128 ] ||
		VERDICT="somebody ended qemu (signal $((QEMU_STATUS - 128)))"
}

# Whether KVM can be trusted is found out by booting under it once: a /dev/kvm
# may be there and run no ordinary guest, or hang it.
probe_kvm()
{
	local accel

	say "trying whether KVM works here (once for this kernel and qemu, up to $((2 * PROBE_LIMIT)) s)"
	for accel in "kvm host" "kvm max,-arch-capabilities"; do
		if XTUN_ACCEL=$accel "$0" -b -K "$K" -t "$PROBE_LIMIT" -c true >/dev/null 2>&1; then
			say "it does ($accel)"
			echo "$accel"
			return
		fi
	done
	say "it does not: guests are emulated, which takes longer"
	echo "$TCG"
}

# Sets ACCEL and CPU.
choose_accel()
{
	local known

	known=$CACHE/accel-$(uname -r)-$(dpkg-query -W -f '${Version}' qemu-system-x86 | tr -c 'a-zA-Z0-9.\n' _)
	if [ -n "$ICOUNT" ]; then
		# With these the kernel copies and clears by one instruction that counts
		# as one for each byte.
		read -r ACCEL CPU <<<"tcg max,-erms,-fsrm"
	elif [ -n "${XTUN_ACCEL:-}" ]; then
		read -r ACCEL CPU <<<"$XTUN_ACCEL"
	elif [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
		read -r ACCEL CPU <<<"$TCG"
	else
		exec 7>>"$CACHE/accel.lock"
		flock 7
		if [ ! -s "$known" ]; then
			probe_kvm >"$known.new" 7>&-
			mv "$known.new" "$known"
		fi
		exec 7>&-
		read -r ACCEL CPU <"$known"
	fi
}

# Runs the guest to its end, with its output as it comes.
run_guest()
{
	local tail_pid=

	start_qemu "$ACCEL" "$CPU"
	if [ "$MODE" = command ]; then
		tail -n +1 -s 0.1 -f --pid="$QEMU_PID" "$RUN/output" 2>/dev/null 9>&- &
		tail_pid=$!
	fi
	# Silent, or the shell would comment on a qemu that was killed.
	wait_for_guest 2>/dev/null
	[ -z "$tail_pid" ] || wait "$tail_pid"
}

# The guest powers off in good order only after it has told a status.
tell_end()
{
	local status

	status=$(sed -n 's/^exit \([0-9]*\)$/\1/p' "$RUN/status")
	[ -z "$status" ] || exit "$status"
	if [ -s "$RUN/qemu" ] && [ ! -s "$RUN/console" ]; then
		die "qemu did not start: $(cat "$RUN/qemu")"
	fi
	say "---- the console's last lines ----"
	cat "$RUN/qemu" "$RUN/console" | tr -d '\r' | tail -n 60 >&2
	say "---- all of it: build/console.$K.$$"
	mkdir -p "$TOP/build"
	cat "$RUN/console" >"$TOP/build/console.$K.$$"
	if told up; then
		say "${VERDICT:-the guest died before the command ended} (kernel $K)"
	else
		say "${VERDICT:-the guest died before it reached user space} (kernel $K)"
	fi
	exit "$DIED"
}

main()
{
	parse_options "$@"
	# Who starts it beside other machines has prepared for all of them, and may be
	# preparing another kernel just now.
	[ -n "$BESIDE" ] || "$VM_DIR/prepare.sh" packages "$K" || exit 1
	RELEASE=$(kernel_release "$K")
	choose_accel
	take_lock
	tell_holder
	remove_stale_runs
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' HUP TERM
	RUN=$CACHE/vm.run.$$
	mkdir "$RUN"
	make_initramfs
	run_guest
	tell_end
}

main "$@"
