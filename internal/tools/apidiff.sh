#!/usr/bin/env bash
# Reports how the exported API of the root module differs from that of a git
# revision: internal/tools/apidiff.sh [REVISION]. REVISION defaults to the last
# tag of the root module. The report informs the choice of the next version, so
# the exit status is 0 even if the comparison fails.
set -uo pipefail
cd "$(dirname "$0")/../.."

# The workspace would add the packages of the nested modules.
export GOWORK=off

stop() {
	printf 'apidiff: %s\n' "$*"
	exit 0
}

revision=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null)}
[ -n "$revision" ] || stop "no tag to compare with"
git rev-parse --quiet --verify "$revision^{commit}" >/dev/null || stop "no revision $revision"

tool=$(go -C internal/tools tool -n apidiff) || stop "the tool does not build"
module=$(go list -m) || stop "go list failed"
temp=$(mktemp -d) || stop "no temporary directory"
trap 'git worktree remove --force "$temp/old" 2>/dev/null; rm -rf "$temp"' EXIT

git worktree add --quiet --detach "$temp/old" "$revision" || stop "git worktree add failed"

# export_api writes the API of the module in directory $1 to file $2.
export_api() {
	(cd "$1" && "$tool" -m -w "$2" "$module")
}
export_api "$temp/old" "$temp/old.api" || stop "$revision does not build"
export_api . "$temp/new.api" || stop "the work tree does not build"

# The tool names each internal package that it leaves out on stderr.
changes=$("$tool" -m "$temp/old.api" "$temp/new.api" 2>"$temp/stderr") || stop "$(cat "$temp/stderr")"
printf 'exported API of %s since %s:\n%s\n' "$module" "$revision" "${changes:-no changes}"
