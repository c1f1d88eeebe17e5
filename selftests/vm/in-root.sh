#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs a command in a folder of another Debian, as its root, in a mount namespace
# of its own: with this machine's /proc and /dev, and with the checkout and the
# cache in their places.  For builds against headers whose tools this machine's C
# library is too old for.
#
# usage: in-root.sh FOLDER COMMAND [ARG...]

set -e -u -o pipefail
# shellcheck source=selftests/vm/common.sh
. "$(dirname "$0")/common.sh"

if [ "${XTUN_IN_ROOT:-}" != "$1" ]; then
	[ "$(id -u)" -eq 0 ] || die "not root, and only root can build in $1"
	XTUN_IN_ROOT=$1 exec unshare --mount "$0" "$@"
fi
ROOT=$1
shift
for dir in /proc /dev "$TOP" "$CACHE"; do
	mkdir -p "$ROOT$dir"
	mount --rbind "$dir" "$ROOT$dir"
done
cd "$ROOT"
exec chroot . /usr/bin/env -i PATH="$PATH" HOME=/root LC_ALL=C "$@"
