#!/usr/bin/env bash
# Names the source files that are not as .clang-format has them, and fails when there is one.
# `--fix` rewrites them instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

sources() {
  find comm transports frameworks tests bench docs -type f \
    \( -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cc' \) -print0 2>/dev/null || true
}

if [[ ${1:-} == --fix ]]; then
  sources | xargs -0 clang-format-14 -i
  exit
fi
# One process per file, each writing one line: lines of parallel processes do not mix.
unformatted=$(sources | xargs -0 -n 1 -P "$(nproc)" bash -c \
  'clang-format-14 --dry-run --Werror "$0" >/dev/null 2>&1 || echo "$0"' | sort)
if [[ -n $unformatted ]]; then
  echo "$unformatted"
  echo "not formatted; tests/tools/check_format.sh --fix does it"
  exit 1
fi
