#!/usr/bin/env bash
# Installs what the benchmarks are measured against, on Debian and Ubuntu: beanstalkd,
# gearmand, GNU parallel, redis, and BullMQ in a folder of its own. Only `npm run bench` uses them; without one its figure is
# skipped, and says so.
set -euo pipefail
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
"${root[@]}" apt-get update
"${root[@]}" apt-get install --yes --no-install-recommends \
  beanstalkd gearman-job-server parallel redis-server
npm install --prefix "${MANYHANDS_BENCH_PEERS:-$HOME/.cache/manyhands-bench}" \
  --no-audit --no-fund --ignore-scripts bullmq@6.7.0 ioredis@5
