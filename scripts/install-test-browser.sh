#!/usr/bin/env bash
# Installs the browser in which the tests open the page of examples/04-browser, on Debian
# and Ubuntu. Optional: without it those tests are skipped, and say so.
set -euo pipefail
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
"${root[@]}" apt-get update
"${root[@]}" apt-get install --yes --no-install-recommends chromium
