#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the sources: one line for each check, "ok" or what it found, and at
# the end "lint: N checks, N failed".  Needs what selftests/vm/prepare.sh
# fetches, and fetches it.
#
# usage: lint.sh

set -u
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/../selftests/vm/common.sh"

SOURCE=$CACHE/source/6.12
WORK=$TOP/build/lint
SHOWN=60		# lines of findings
CHECKS=0
FAILED=0

# Not about code: a file is checked, not a patch that moves it.
IGNORE=FILE_PATH_CHANGES

# check NAME COMMAND...: it succeeds silently, or what it says is shown.
check()
{
	local name=$1 said
	shift

	CHECKS=$((CHECKS + 1))
	if said=$("$@" 2>&1); then
		echo "ok   $name"
	else
		FAILED=$((FAILED + 1))
		echo "FAIL $name"
		printf '%s\n' "$said" | head -n "$SHOWN" | sed 's/^/     /'
	fi
}

# The checkout's files, with or without git; arguments as for find.
files()
{
	find . \( -path ./.git -o -path ./build \) -prune -o -type f \( "$@" \) -print |
		sort
}

c_files()
{
	files -path './kmod/*.[ch]' -o -path './tools/*.[ch]' -o -path './uapi/*.h' \
		-o -path './selftests/*.[ch]'
}

generated()
{
	printf '%s\n' ./kmod/xtun_nl.c ./kmod/xtun_nl.h ./uapi/linux/xtun.h
}

# fails_if_any: its input is findings; none is success.
fails_if_any()
{
	! grep .
}

checkpatch_sources()
{
	local -a own

	mapfile -t own < <(generated | grep -v -x -F -f - <(c_files))
	perl "$SOURCE/scripts/checkpatch.pl" --strict --no-tree --no-summary \
		--quiet --show-types --terse --ignore "$IGNORE" -f "${own[@]}"
}

# With gcc's extra warnings and with sparse, from scratch: only what is compiled is
# looked at.  Without sparse on 7.3, whose headers neither Debian 12's nor Debian 13's
# sparse can read.
build_module()
{
	local k=$1 status sparse=1

	"$VM_DIR/prepare.sh" "$k" || return 1

	rm -rf "${WORK:?}/$k"
	link_sources "$WORK/$k"
	[ "$k" != 7.3 ] || sparse=0
	kernel_make "$k" -k M="$WORK/$k/kmod" W=1 C=$sparse modules >"$WORK/$k/log" 2>&1 &&
		kernel_make "$k" -k M="$WORK/$k/selftests/bench" W=1 C=$sparse modules \
			>>"$WORK/$k/log" 2>&1
	status=$?
	# What is amiss in the kernel's own headers is not ours to mend.
	grep -E "$WORK/$k/(kmod|selftests/bench)/.*(warning|error):|^(WARNING|ERROR): modpost" \
		"$WORK/$k/log" | sed "s|$WORK/$k/||" | awk '!seen[$0]++' >"$WORK/$k/findings"
	[ "$status" -eq 0 ] || [ -s "$WORK/$k/findings" ] ||
		tail -n 20 "$WORK/$k/log" >"$WORK/$k/findings"
	fails_if_any <"$WORK/$k/findings"
}

kernel_doc()
{
	local -a sources

	mapfile -t sources < <(files -path './kmod/*.[ch]')
	perl "$SOURCE/scripts/kernel-doc" -none -Werror -Wreturn "${sources[@]}"
}

tools_without_warning()
{
	make -s -C tools O="$WORK/tools" CFLAGS="-O2 -g -Werror" all
}

# Grammar, refusals, help, man pages, completion; what passes is not told.
tools_check()
{
	local said status

	said=$(make -s -C tools O="$WORK/tools" check 2>&1)
	status=$?
	grep -v '^ok ' <<<"$said"
	return "$status"
}

shell_scripts()
{
	local -a scripts

	mapfile -t scripts < <(files ! -name '*.md' -exec grep -l -m 1 -E \
		'^#!/bin/(ba)?sh|^# shellcheck shell=' {} \;)
	shellcheck -x -P "$TOP" "${scripts[@]}"
}

python_files()
{
	local -a sources

	mapfile -t sources < <(files -name '*.py')
	[ ${#sources[@]} -eq 0 ] && return
	python3 - "${sources[@]}" <<-'END' && python3 -m pyflakes "${sources[@]}"
	import sys
	for name in sys.argv[1:]:
	    with open(name, encoding="utf-8") as source:
	        compile(source.read(), name, "exec")
	END
}

# What a kernel has is probed: versions tell little, since stable kernels
# carry backports.
version_tests()
{
	grep -n -r -E 'LINUX_VERSION_CODE|KERNEL_VERSION' kmod --include='*.[ch]' |
		grep -v '^kmod/compat/' | fails_if_any
}

# What the pages say of functions is about those that there are.
named_functions()
{
	local name

	for name in $(grep -h -o -E '``xtun_[a-z0-9_]+\(\)' Documentation/*.rst | tr -d '`()' |
			sort -u); do
		grep -q -r -E "\b$name\(" kmod --include='*.[ch]' || echo "$name() is not there"
	done | fails_if_any
}

licences()
{
	files -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name Makefile \
		-o -name Kbuild -o -name '*.yaml' -o -path './.ci/*' |
		xargs grep -L SPDX-License-Identifier | fails_if_any
}

main()
{
	local k

	cd "$TOP" || exit 1
	"$VM_DIR/prepare.sh" packages source || exit 1
	mkdir -p "$WORK"
	check "every source names its licence" licences
	check "no kernel versions outside of compat" version_tests
	check "generated files are up to date" scripts/regen.sh --check
	check "shell scripts (shellcheck)" shell_scripts
	check "python (compiles, pyflakes)" python_files
	check "functions that the pages name" named_functions
	check "style (checkpatch --strict)" checkpatch_sources
	check "comments (kernel-doc)" kernel_doc
	for k in $KERNELS; do
		check "module on $k (gcc with W=1, sparse where it can)" build_module "$k"
	done
	check "no call upwards in the layers" scripts/layers.py "$WORK/6.12/kmod"
	check "tools without a warning" tools_without_warning
	check "tools do without the module what they can" tools_check
	echo "lint: $CHECKS checks, $FAILED failed"
	[ "$FAILED" -eq 0 ]
}

main
