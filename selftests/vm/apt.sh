# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian packages of a release, whichever this machine runs: with package lists and
# sources of their own in the cache, from the mirror that this machine's own come
# from.  They are downloaded and unpacked, never installed.  Sourced, never run;
# those who source it have common.sh.
#
#	apt_of RELEASE COMMAND...	apt-get or apt-cache about that release
#	apt_lists RELEASE...		reads the package lists, once a run
#	apt_field RELEASE PACKAGE FIELD	of the newest version
#	apt_fetch RELEASE PACKAGE...	downloads packages into the current folder
#
# A RELEASE is bookworm, trixie or trixie-backports.

APT=$CACHE/apt
APT_LOCK_LIMIT=600	# seconds to wait for another apt
declare -A APT_READ=()

# The address of a repository of Debian's that this machine uses: LABEL DEFAULT
apt_mirror()
{
	local uri

	# shellcheck disable=SC2016 # words of apt-get
	uri=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null | sed -n "s/^Debian|$1|//p" | head -n 1 || :)
	echo "${uri:-$2}"
}

apt_sources()
{
	local release=$1 keys=/usr/share/keyrings/debian-archive-keyring
	local main security

	[ -e "$keys.gpg" ] && keys+=.gpg || keys+=.pgp
	main=$(apt_mirror Debian http://deb.debian.org/debian/)
	security=$(apt_mirror Debian-Security http://deb.debian.org/debian-security/)
	echo "deb [signed-by=$keys] $main $release main"
	case $release in
	*-backports)	;;
	*)		echo "deb [signed-by=$keys] $security $release-security main" ;;
	esac
}

apt_of()
{
	local release=$1 command=$2
	shift 2

	"$command" -o "Dir::Etc::SourceList=$APT/$release.list" -o Dir::Etc::SourceParts=/dev/null \
		-o "Dir::State::Lists=$APT/lists" -o "Dir::State::Status=$APT/status" \
		-o "Dir::Cache=$APT/cache.$release" -o APT::Get::List-Cleanup=0 \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o APT::Default-Release= -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
		-o APT::Sandbox::User=root "$@"
}

apt_lists()
{
	local release log=$APT/log

	mkdir -p "$APT"/lists/partial
	touch "$APT/status"
	for release in "$@"; do
		[ -z "${APT_READ[$release]:-}" ] || continue
		mkdir -p "$APT/cache.$release/archives/partial"
		apt_sources "$release" >"$APT/$release.list"
		say "reading the package lists of $release"
		apt_of "$release" apt-get update -q >"$log" 2>&1 </dev/null || {
			cat "$log" >&2
			die "the package lists of $release could not be read: is the Debian mirror reachable?"
		}
		# apt-get calls it a success when it could reach nobody.
		! grep '^[EW]: Failed to fetch' "$log" >&2 ||
			die "the package lists of $release could not be had: is the Debian mirror reachable?"
		APT_READ[$release]=1
	done
}

apt_field()
{
	local text

	text=$(apt_of "$1" apt-cache show --no-all-versions "$2" 2>/dev/null |
		sed -n "s/^$3: //p" || :)
	[ -n "$text" ] || die "Debian $1 has no package $2"
	echo "$text"
}

apt_fetch()
{
	local release=$1 log=$APT/log
	shift

	say "downloading $*"
	apt_of "$release" apt-get download -q "$@" >"$log" 2>&1 </dev/null || {
		grep '^E:' "$log" >&2 || :
		die "download failed"
	}
}

# Unpacks all packages of the current folder into ./root.
apt_unpack()
{
	local deb

	for deb in ./*.deb; do
		dpkg-deb -x "$deb" root
		rm "$deb"
	done
}

# apt-get of this machine itself; another apt that is at work is waited for.
own_apt_get()
{
	local log=$1 end=$((SECONDS + APT_LOCK_LIMIT)) told=
	shift

	! fuser -s /var/lib/dpkg/lock-frontend 2>/dev/null ||
		say "another apt is at work: waiting for it"
	until DEBIAN_FRONTEND=noninteractive apt-get -q \
		-o "DPkg::Lock::Timeout=$APT_LOCK_LIMIT" "$@" >"$log" 2>&1 </dev/null; do
		# The lists have a lock for which apt-get does not wait.
		grep -q 'Could not get lock' "$log" && [ "$SECONDS" -lt "$end" ] || return 1
		[ -n "$told" ] || say "another apt is at work: waiting for it"
		told=1
		sleep 1
	done
}
