#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# /init of the initramfs that vm.sh makes: run by busybox in the booting
# guest, it makes the host's file system the root, read-only below a layer
# in memory, and hands over to guest-init.sh of the checkout.  /hot is what
# hot.sh has put into the initramfs.

set -e
export PATH=/bin
/bin/busybox --install -s /bin

mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys

# shellcheck source=/dev/null
. /vm.conf		# VM_TOP VM_CACHE VM_MODULES VM_RELEASE

while read -r module; do
	insmod "/modules/$module"
done </modules/order

# The guest sees the host as it was at its first look: what it reads nobody writes
# meanwhile, and reading everything once only is several times faster.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host

# layer LOWER TARGET: a writable view of a folder of the host.  LOWER may be several,
# with colons between them: what the first has is not looked for in the next.
layers=0
layer()
{
	layers=$((layers + 1))
	mkdir -p "/layer/$layers/upper" "/layer/$layers/work" "$2"
	mount -t overlay -o "lowerdir=$1,upperdir=/layer/$layers/upper,workdir=/layer/$layers/work" \
		overlay "$2"
}

mount -t tmpfs -o mode=755 layer /layer
layer /hot:/host /root

mkdir -p /root/dev /root/proc /root/sys /root/tmp /root/run /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
for dir in dev proc sys; do
	mount --move "/$dir" "/root/$dir"
done
mount -t tmpfs -o mode=1777 tmp /root/tmp
mount -t tmpfs -o mode=755 run /root/run

# What the host keeps below /tmp or /run must not vanish under those two.
for dir in "$VM_TOP" "$VM_CACHE"; do
	case $dir in
	/tmp/*|/run/*|/dev/*)	layer "/host$dir" "/root$dir" ;;
	esac
done

mkdir -p "/root/lib/modules/$VM_RELEASE" /root/run/xtun-vm
mount --bind "/root$VM_MODULES" "/root/lib/modules/$VM_RELEASE"
cp /vm.conf /command /root/run/xtun-vm/

hostname xtun-vm
ip link set lo up

# Not switch_root, which would delete what this file system has, /hot among it.
cd /root
mount --move . /
exec chroot . /bin/bash "$VM_TOP/selftests/vm/guest-init.sh"
