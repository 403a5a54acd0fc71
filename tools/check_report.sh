#!/usr/bin/env bash
# Checks pages of `shoal report`, `plan` and `compare`, and SVG files of figures, in Chromium (see check_report.mjs), with
# playwright-core and axe-core from npm.
#
#     cargo run --release -p shoal-report --example sample_reports -- pages
#     tools/check_report.sh screenshots pages/*.html pages/*.svg
#
# Environment variables: MODULES is a folder in which to keep the npm packages, and CHROMIUM is the browser
# (default: /usr/bin/chromium).
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: check_report.sh SCREENSHOTS PAGE..." >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
modules=${MODULES:-}
if [ -z "$modules" ]; then
  modules=$(mktemp -d)
  trap 'rm -rf "$modules"' EXIT
fi
mkdir -p "$modules"
if [ ! -d "$modules/node_modules/axe-core" ]; then
  (cd "$modules" && npm install --no-save --no-audit --no-fund --ignore-scripts --silent playwright-core@1.65.1 axe-core@4.14.1)
fi
node "$here/check_report.mjs" "$modules/node_modules" "$@"
