#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes the netlink header and policy from Documentation/netlink/specs/xtun.yaml
# with the kernel's own generator, or with --check tells whether they are what
# it would make.
#
# YNL_TREE names a kernel source tree that holds tools/net/ynl and
# Documentation/netlink; without it, the one in the cache folder is used.

set -eu

cd "$(dirname "$0")/.."

cache=${XTUN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/xtun}
tree=${YNL_TREE:-$cache/source/6.12}
gen=$tree/tools/net/ynl/ynl-gen-c.py
check=0

case "${1-}" in
--check) check=1 ;;
"") ;;
*) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac

if [ ! -f "$gen" ]; then
	echo "regen: $gen is missing; selftests/vm/prepare.sh fetches it" >&2
	exit 2
fi

# The generator wants the spec beside the schemas, and a MAINTAINERS file
# somewhere above it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/specs"
cp Documentation/netlink/specs/xtun.yaml "$work/specs/"
cp "$tree"/Documentation/netlink/*.yaml "$work/"
touch "$work/MAINTAINERS"

make_one()
{
	/usr/bin/python3 "$gen" --spec "$work/specs/xtun.yaml" \
		--mode "$1" "$2" -o "$work/$3"
}

make_one uapi --header xtun.h
make_one kernel --header xtun_nl.h
make_one kernel --source xtun_nl.c

# For families with per-op policies the generator leaves the table of multicast
# groups static in a file that does not register the family: share it.
sed -i 's/^static \(const struct genl_multicast_group\)/\1/' "$work/xtun_nl.c"
# It passes over the flags of groups, which are others than those of commands.
sed -i '/genl_multicast_group/,/^}/s/{ "events", }/{ "events", GENL_MCAST_CAP_NET_ADMIN, }/' \
	"$work/xtun_nl.c"
groups=$(sed -n '/genl_multicast_group/,/^}/p' "$work/xtun_nl.c" | grep -c '\[')
sed -i "/^\/\* Ops table/i\\
extern const struct genl_multicast_group xtun_nl_mcgrps[$((groups - 1))];\\
" "$work/xtun_nl.h"

status=0
for pair in xtun.h:uapi/linux/xtun.h xtun_nl.h:kmod/xtun_nl.h \
	    xtun_nl.c:kmod/xtun_nl.c; do
	made=$work/${pair%%:*}
	kept=${pair#*:}
	if cmp -s "$made" "$kept"; then
		continue
	elif [ "$check" = 1 ]; then
		echo "regen: $kept is not what the spec gives; run scripts/regen.sh"
		status=1
	else
		cp "$made" "$kept"
		echo "regen: $kept"
	fi
done
exit $status
