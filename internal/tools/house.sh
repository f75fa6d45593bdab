#!/usr/bin/env bash
# Checks the house rules that no linter knows: internal/tools/house.sh. It
# prints each violation, and exits with status 1 if there is one.
set -uo pipefail
cd "$(dirname "$0")/../.."

# The most lines that a Go file may have, tests aside.
max_lines=400

# Private words and what to write instead: batch, endpoint, requeueUnhandled,
# shouldRetry, allPermanent, retriesExhausted, overCapacity.
private='[Pp]ocket|[Oo]utlet|[Gg]iveBack|[Gg]oesOn|[Hh]opeless|[Tt]ired|[Cc]rowded|[Hh]omeless|[Uu]npush|[Uu]npop'

# long prints the Go files that are too long.
long() {
	find . -name .git -prune -o -name '*.go' ! -name '*_test.go' -exec wc -l {} + |
		awk -v max="$max_lines" '$1 > max && $2 != "total" { print $2 ": " $1 " lines" }'
}

# words prints the lines with a private word, alone or as part of an identifier
# such as newOutlet or pocketSize. "retired" contains none.
words() {
	local capital
	capital=$(sed -E 's/\[(.).\]/\1/g' <<<"$private")
	grep -rnE --include='*.go' --include='*.md' --exclude=CHANGELOG.md --exclude-dir=.git \
		-e "(^|[^A-Za-z])($private)s?([^a-z]|\$)" -e "[a-z0-9]($capital)s?([^a-z]|\$)" .
}

failed=0

# check runs the function $2. It prints the function's output below the title
# $1, and fails if there is any.
check() {
	local found
	found=$("$2")
	if [ $? -gt 1 ] || [ -n "$found" ]; then # grep exits with 1 if nothing matches
		printf '%s:\n%s\n' "$1" "$found"
		failed=1
	fi
}

check "Go files longer than $max_lines lines" long
check "private words" words
exit "$failed"
