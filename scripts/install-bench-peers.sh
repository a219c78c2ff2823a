#!/usr/bin/env bash
# Installs what the benchmarks are measured against, on Debian and Ubuntu: beanstalkd,
# gearmand and GNU parallel. Only `npm run bench` uses them; without one its figure is
# skipped, and says so.
set -euo pipefail
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
"${root[@]}" apt-get update
"${root[@]}" apt-get install --yes --no-install-recommends \
  beanstalkd gearman-job-server parallel
