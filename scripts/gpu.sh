#!/usr/bin/env bash
# Check and measure ganatomy on a bare machine with a GPU and PyTorch, without a network.
#
#   scripts/gpu.sh [--minutes 9] [--study NAME ...] [--all] [--skip STAGE ...] [--plan]
#
# --all goes on with the studies of the reports, from the runs in .gpu/runs.tar.gz (or its parts) if
# there are any, and leaves them as runs.tar.gz, in parts of at most 15 MB. --skip leaves a stage out,
# and its time to the studies.
#
# Uses .gpu/ (scripts/pack_gpu.sh) where it is there. Every stage has a limit, and survives the failure
# of the one before. Results are in $OUT (default gpu-results): summary.txt, machine.txt, tests.txt,
# benchmark.md, benchmark.json, profile.txt, and for each study an archive of at most 16 MB.
# DEVICE=cpu tries the script on a machine without a GPU.
set -u
cd "$(dirname "$0")/.."
minutes=9 studies=() plan= all= skipped=" "
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --study) studies+=("$2"); shift 2 ;;
    --all) all=1; shift ;;
    --skip) skipped+="$2 "; shift 2 ;;
    --plan) plan=1; shift ;;
    *) echo "usage: scripts/gpu.sh [--minutes 9] [--study NAME ...] [--all] [--skip STAGE] [--plan]" >&2
       exit 2 ;;
  esac
done
case $minutes in ''|*[!0-9]*|0) echo "expected whole minutes, 1 or more, got $minutes" >&2; exit 2 ;; esac

python=${PYTHON:-python3} device=${DEVICE:-cuda}
out=$(mkdir -p "${OUT:-gpu-results}" && cd "${OUT:-gpu-results}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
total=$((minutes * 60))
install=$((total / 18)) machine=$((total / 18)) tests=$((total * 4 / 18)) bench=$((total * 8 / 18))
count=$((${#studies[@]} + ${all:-0}))
[ $count -gt 0 ] && bench=$((total * 5 / 18))
for name in machine tests bench; do
  case $skipped in *" $name "*) printf -v "$name" 0 ;; esac
done
left=$((total - install - machine - tests - bench))
each=$((count > 0 ? left / count : 0))
budget=$((each > 120 ? each - 60 : each / 2))  # measurements and pages take time after it

echo "plan, at most $minutes minutes:"
echo "  install    $install s  wheels and data of .gpu/"
[ $machine -gt 0 ] && echo "  machine    $machine s  ganatomy doctor"
[ $tests -gt 0 ] && echo "  tests      $tests s  pytest -m gpu"
[ $bench -gt 0 ] && echo "  benchmark  $bench s  benchmarks/gpu.py"
for name in ${studies[@]+"${studies[@]}"}; do echo "  study      $each s  $name"; done
[ -n "$all" ] && echo "  studies    $each s  ganatomy study --all --budget ${budget}s"
[ -n "$plan" ] && exit 0

failed=0
stage() {  # NAME SECONDS COMMAND: run it within its limit, and note how it went
  local name=$1 limit=$2 begun=$SECONDS status
  shift 2
  [ "$limit" -gt 0 ] || return
  timeout --signal=INT --kill-after=10 "$limit" "$@"  # as Ctrl-C: pytest and studies end in order
  status=$?
  [ $status -ne 0 ] && failed=1
  echo "$name: exit $status after $((SECONDS - begun)) of $limit s" | tee -a "$out/summary.txt"
}

unpack() {  # NAME: the study with its last checkpoints if they fit, else without
  local archive="$out/study-$1.tar.gz"
  tar -C "$work/studies" -czf "$archive" "$1"
  if [ "$(stat -c %s "$archive")" -gt $((16 * 1024 * 1024)) ]; then
    tar -C "$work/studies" --exclude '*.pt' -czf "$archive" "$1"
  fi
}

: > "$out/summary.txt"
export -f unpack
export work python
stage install "$install" bash -c unpack
export PYTHONPATH="$PWD/src:$PWD/tests:$work/site" GANATOMY_DATA="$work/data" PYTHONUNBUFFERED=1
stage machine "$machine" bash -c '"$0" -m ganatomy doctor > "$1/machine.txt" 2>&1' "$python" "$out"
"$python" -c "import xdist" 2> /dev/null && parallel="-n 8" || parallel=
stage tests "$tests" bash -c \
  'OMP_NUM_THREADS=1 "$0" -m pytest -m gpu -q -W default -p no:cacheprovider --tb=short --durations=10 \
  --continue-on-collection-errors $2 > "$1/tests.txt" 2>&1' "$python" "$out" "$parallel"
stage benchmark "$bench" "$python" benchmarks/gpu.py "$out" --device "$device" --seconds 1 --turns 3
for name in ${studies[@]+"${studies[@]}"}; do
  stage "study $name" "$each" "$python" -m ganatomy study "$name" --device "$device" --out "$work/studies/$name"
  [ -d "$work/studies/$name" ] && pack "$name"
done
if [ -n "$all" ]; then
  cat .gpu/runs.tar.gz* > "$out/runs.tar.gz" 2> /dev/null || rm -f "$out/runs.tar.gz"
  stage studies "$each" "$python" -m ganatomy study --all --budget "${budget}s" --device "$device" \
    --out "$work/all" --archive "$out/runs.tar.gz"
  if [ "$(stat -c %s "$out/runs.tar.gz" 2> /dev/null || echo 0)" -gt $((15 * 1000 * 1000)) ]; then
    split --bytes 15MB --numeric-suffixes "$out/runs.tar.gz" "$out/runs.tar.gz." && rm "$out/runs.tar.gz"
  fi
fi
cat "$out/summary.txt"
exit $failed
