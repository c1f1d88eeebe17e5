#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Process 1 of the guest: finishes what init.sh began, runs the one command
# that the guest was booted for, tells its exit status and powers off.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=linux
unset PWD OLDPWD SHLVL

# shellcheck source=/dev/null
. /run/xtun-vm/vm.conf

# The port of this name, made by virtio_console a moment after its driver.
port()
{
	local name

	for name in /sys/class/virtio-ports/*/name; do
		[ "$(cat "$name")" = "$1" ] || continue
		echo "/dev/$(basename "$(dirname "$name")")"
		return
	done
}

mount_the_rest()
{
	mkdir -p /dev/pts /dev/shm /run/netns /run/lock
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
	mount -t tmpfs shm /dev/shm
	mount -t debugfs debugfs /sys/kernel/debug
	mount -t tracefs tracefs /sys/kernel/tracing
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount -t bpf bpf /sys/fs/bpf
	ln -sfn /proc/self/fd /dev/fd
	ln -sfn /proc/self/fd/0 /dev/stdin
	ln -sfn /proc/self/fd/1 /dev/stdout
	ln -sfn /proc/self/fd/2 /dev/stderr
}

settle()
{
	echo xtun-vm >/proc/sys/kernel/hostname
	# The kernel log is what the tests look at, after the fact.
	echo 0 >/proc/sys/kernel/panic_on_oops
	echo 0 >/proc/sys/kernel/printk_ratelimit
	ip link set lo up
}

environment()
{
	export XTUN_TOP=$VM_TOP XTUN_CACHE=$VM_CACHE XTUN_K=$VM_K
	export XTUN_KO=$VM_BUILD/kmod/xtun.ko
	export IP_LIB_DIR=$VM_TOP/build/tools
	export PATH=$VM_TOP/build/tools:$PATH
}

run_command()
{
	cd "$VM_TOP" || return 127
	if [ -n "$VM_SHELL" ]; then
		stty -F /dev/hvc0 sane rows "$VM_ROWS" cols "$VM_COLUMNS"
		TERM=$VM_SHELL setsid -c bash -i <>/dev/hvc0 >&0 2>&0
	else
		setsid bash /run/xtun-vm/command </dev/null >"$(port output)" 2>&1
	fi
}

mount_the_rest
STATUS=$(port status)
echo up >"$STATUS"
settle
environment
run_command
echo "exit $?" >"$STATUS"
exec busybox poweroff -f
