#!/usr/bin/env bash
# Installs what some tests need, on Debian and Ubuntu: Python 3, for examples/worker.py, and
# iproute2, for two machines on a virtual cable (as root alone). Without them those tests
# are skipped, and say so.
set -euo pipefail
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
"${root[@]}" apt-get update
"${root[@]}" apt-get install --yes --no-install-recommends iproute2 python3
