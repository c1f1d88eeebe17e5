#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds what the virtual machines run: the tools into build/tools, and for each kernel
# named the module into build/KERNEL/kmod, and that of the network cards that tests and
# the bench have into build/KERNEL/selftests/bench.  The sources are linked
# there, not copied, so that one checkout can be built for all kernels side by
# side and only what changed is compiled again.
#
# usage: build.sh [KERNEL...]		6.1, 6.12, 7.3 or debug

set -e -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

build_tools()
{
	make -s -C "$TOP/tools" O="$TOP/build/tools" all
}

main()
{
	local k

	"$VM_DIR/prepare.sh" packages "$@"
	mkdir -p "$TOP/build"
	exec 7>"$TOP/build/lock"
	flock 7
	build_tools
	for k in "$@"; do
		say "module for kernel $k"
		link_sources "$TOP/build/$k"
		kernel_make "$k" -s M="$TOP/build/$k/kmod" modules
		kernel_make "$k" -s M="$TOP/build/$k/selftests/bench" modules
	done
}

main "$@"
