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
# A parenthesis at a line's end beats a call pressed against the margin.
IGNORE+=,OPEN_ENDED_LINE
# Only where macros make up for what a kernel lacks, or spread a table: there
# they cannot be functions, and include_next <> looks like a comparison.
IGNORE_MACROS=COMPLEX_MACRO,MACRO_ARG_REUSE,MACRO_ARG_UNUSED,MACRO_ARG_PRECEDENCE
IGNORE_MACROS+=,SPACING,PARENTHESIS_ALIGNMENT,LINUX_VERSION_CODE

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
	files -path './kmod/*.[ch]' -o -path './tools/*.[ch]' -o -path './uapi/*.h'
}

generated()
{
	printf '%s\n' ./kmod/xtun_nl.c ./kmod/xtun_nl.h ./uapi/linux/xtun.h
}

made_of_macros()
{
	files -path './kmod/compat/*.[ch]' -o -path './kmod/drop.[ch]' -o -path ./kmod/trace.h
}

# fails_if_any: its input is findings; none is success.
fails_if_any()
{
	! grep .
}

checkpatch()
{
	local ignore=$1
	shift

	[ $# -eq 0 ] || perl "$SOURCE/scripts/checkpatch.pl" --strict --no-tree \
		--no-summary --quiet --show-types --terse --ignore "$ignore" -f "$@"
}

checkpatch_sources()
{
	local status=0
	local -a all macros own

	mapfile -t macros < <(made_of_macros)
	mapfile -t all < <(generated | grep -v -x -F -f - <(c_files))
	mapfile -t own < <(printf '%s\n' "${macros[@]}" |
		grep -v -x -F -f - <(printf '%s\n' "${all[@]}"))
	checkpatch "$IGNORE" "${own[@]}" || status=1
	checkpatch "$IGNORE,$IGNORE_MACROS" "${macros[@]}" || status=1
	return $status
}

# With gcc's extra warnings, and with sparse; from scratch, since only what is
# compiled is looked at.
build_module()
{
	local k=$1 status

	rm -rf "${WORK:?}/$k"
	link_sources "$WORK/$k"
	make -k -C "$(kernel_dir "$k")/build" -j "$(nproc)" M="$WORK/$k/kmod" W=1 C=1 \
		modules >"$WORK/$k/log" 2>&1
	status=$?
	# What is amiss in the kernel's own headers is not ours to mend.
	grep -E "$WORK/$k/kmod/.*(warning|error):|^(WARNING|ERROR): modpost" \
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
	# shellcheck disable=SC2086 # a list of words
	"$VM_DIR/prepare.sh" packages $KERNELS source || exit 1
	mkdir -p "$WORK"
	check "every source names its licence" licences
	check "no kernel versions outside of compat" version_tests
	check "generated files are up to date" scripts/regen.sh --check
	check "shell scripts (shellcheck)" shell_scripts
	check "python (compiles, pyflakes)" python_files
	check "style (checkpatch --strict)" checkpatch_sources
	check "comments (kernel-doc)" kernel_doc
	for k in $KERNELS; do
		check "module on $k (gcc with W=1, sparse)" build_module "$k"
	done
	check "tools without a warning" tools_without_warning
	echo "lint: $CHECKS checks, $FAILED failed"
	[ "$FAILED" -eq 0 ]
}

main
