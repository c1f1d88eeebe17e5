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
	local file name

	for file in /sys/class/virtio-ports/*/name; do
		read -r name <"$file"
		[ "$name" = "$1" ] || continue
		file=${file%/name}
		echo "/dev/${file##*/}"
		return
	done
}

environment()
{
	export XTUN_TOP=$VM_TOP XTUN_CACHE=$VM_CACHE XTUN_K=$VM_K
	# Where lib/capture.py has tshark run.
	XTUN_HOST=$(port host)
	export XTUN_HOST
	export XTUN_KO=$VM_BUILD/kmod/xtun.ko
	# The checkout may be where users have no access, as below /root.
	install -D -t /run/xtun-tools "$VM_TOP"/build/tools/{tunctl,link_xtun.so}
	export IP_LIB_DIR=/run/xtun-tools
	export PATH=/run/xtun-tools:$PATH
}

run_command()
{
	local input

	cd "$VM_TOP" || return 127
	if [ -n "$VM_SHELL" ]; then
		stty -F /dev/hvc0 sane rows "$VM_ROWS" cols "$VM_COLUMNS"
		TERM=$VM_SHELL setsid -c bash -i <>/dev/hvc0 >&0 2>&0
	else
		input=$(port input)
		setsid bash /run/xtun-vm/command <"${input:-/dev/null}" >"$(port output)" 2>&1
	fi
}

STATUS=$(port status)
echo up >"$STATUS"
environment
run_command
echo "exit $?" >"$STATUS"
exec busybox poweroff -f
