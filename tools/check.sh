#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check.sh FOLDER: tries what "make" left in FOLDER, as far as that needs no
# module, and that man pages and completion know every word.

out=${1:?usage: check.sh FOLDER}
here=$(dirname "$0")
man=$here/../Documentation/man
tunctl=$out/tunctl
count=0
failed=0

# result STATUS NAME [DETAIL]
result()
{
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count $2"
	else
		echo "not ok $count $2"
		[ -n "${3-}" ] && printf '%s\n' "$3" | sed 's/^/# /'
		failed=1
	fi
}

skip()
{
	count=$((count + 1))
	echo "ok $count $1 # SKIP $2"
}

# ends STATUS PATTERN COMMAND...: the command ends so and says so
ends()
{
	local want=$1 pattern=$2 said status

	shift 2
	said=$("$@" 2>&1)
	status=$?
	[ "$status" = "$want" ] && [[ $said == *$pattern* ]]
	result $? "${*#"$out"/} ends with $want" "$status: $said"
}

# complete_at ARGUMENT...: what completion offers for the last argument
complete_at()
{
	bash -c 'source "$1"; shift
		COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tunctl
		echo " ${COMPREPLY[*]} "' - \
		"$here/tunctl/tunctl.bash-completion" "$tunctl" "$@"
}

check_man()
{
	local page=$1 tags word missing=""

	# Tags of entries, as words with a blank on both sides
	tags=$(sed -nE 's/\\-/-/g; s/^\.B[IR]? "?([^"]*)"?.*/ \1 /p' "$man/$page")
	while read -r word _; do
		[[ $tags == *" $word "* ]] || missing+=" $word"
	done < <("$out/test_grammar" --words)
	[ -z "$missing" ]
	result $? "$page has every word" "missing:$missing"
}

check_page()
{
	local page=$1 said

	if ! command -v man >/dev/null; then
		skip "$page is well formed" "no man"
		return
	fi
	said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 \
		-Z "$man/$page" 2>&1 >/dev/null)
	[ -z "$said" ]
	result $? "$page is well formed" "$said"
}

check_completion()
{
	local offered word values value missing=""

	offered=$(complete_at add x "")
	while read -r word values; do
		[[ $offered == *" $word "* ]] || missing+=" $word"
		for value in $values; do
			[[ $(complete_at add x "$word" "") == *" $value "* ]] ||
				missing+=" $word:$value"
		done
	done < <("$out/test_grammar" --words)
	[ -z "$missing" ]
	result $? "completion has every word and value" "missing:$missing"

	offered=$(complete_at add x ttl 5 "")
	[[ $offered != *" ttl "* && $offered == *" tos "* ]]
	result $? "completion offers no word twice" "$offered"

	offered=$(complete_at add x encap gre "")
	[[ $offered != *" qfi "* && $offered == *" csum "* ]]
	result $? "completion offers the encapsulation's words" "$offered"

	offered=$(complete_at "")
	[[ $offered == *" explain "* && $offered != *" complete "* ]]
	result $? "completion offers commands" "$offered"
}

check_plugin()
{
	local -a ip=(ip link)

	if ! command -v ip >/dev/null; then
		skip "plug-in" "no ip"
		return
	fi
	export IP_LIB_DIR=$out
	ends 0 "encap ip|gre|nvgre" "${ip[@]}" help xtun
	ends 255 "ttl takes a number" "${ip[@]}" add x type xtun ttl 256
	ends 255 "given twice" "${ip[@]}" add x type xtun key 1 key 2
	ends 255 "nothing follows" "${ip[@]}" add x type xtun key
	ends 1 "tunctl" "${ip[@]}" add x type xtun \
		allow "$(seq -s, -f fd00:%g::/64 40)"
}

echo "KTAP version 1"
ends 0 "Usage: tunctl" "$tunctl" help
ends 0 "tunctl add NAME" "$tunctl" help add
ends 0 "ttl N|inherit" "$tunctl" help ttl
ends 0 "ttl N|inherit" "$tunctl" help ttl --json
ends 1 "neither" "$tunctl" help bogus
ends 0 "tunctl " "$tunctl" --version
ends 1 "no such command" "$tunctl" bogus
ends 1 "" "$tunctl" --bogus
ends 1 "NAME" "$tunctl" add
ends 1 "1 to 15 bytes" "$tunctl" add 0123456789abcdef
ends 1 "\"256\": ttl takes" "$tunctl" add x ttl 256
ends 0 "with encap gtp" "$tunctl" help qfi
ends 0 "a number from 68 to 65535 or auto" "$tunctl" help mtu
ends 1 "\"67\": mtu takes" "$tunctl" add x mtu 67
ends 1 "\"65\": qfi takes" "$tunctl" add x qfi 65
ends 1 "given twice" "$tunctl" set x ttl 1 ttl 2
ends 1 "netns \"no such\"" "$tunctl" add x encap gre netns "no such"
ends 1 "netns \"no such\"" "$tunctl" -n "no such" show
ends 1 "no such word" "$tunctl" set x netns 1
ends 1 "one NAME" "$tunctl" show a b
ends 1 "one NAME" "$tunctl" del a b
ends 1 "no argument" "$tunctl" monitor x
ends 1 "one NAME" "$tunctl" path a b
ends 1 "one address" "$tunctl" explain
ends 1 "no IPv4 or IPv6 address" "$tunctl" explain 192.0.2.256
ends 0 "tunctl explain ADDR" "$tunctl" help explain
check_man tunctl.8
check_man ip-link-xtun.8
check_page tunctl.8
check_page ip-link-xtun.8
check_completion
check_plugin
echo "1..$count"
exit $failed
