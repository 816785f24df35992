#!/usr/bin/env bash
# What fselab claims on a GPU, shown on a machine with an H100.
#
#   experiments/h100.sh [--only PART,...] [--fselab BINARY] [--device hip:0] [--out DIR]
#                       [--yardstick BINARY] [--seconds N] [--dry-run] [key=value ...]
#
# Parts, in this order; without --only all of them, and the last two where their program is there:
#   verify      every golden layer, every legal variant and dtype, stream and graph
#   library     Qwen3-Next's golden layer with every algorithm of the vendor's library
#   quickstart  the main job with device=hip:0
#   timing      Qwen3-Next, 1 to 1024 tokens, every way to run the shared expert, tuned; x floor
#   shapes      the ratio to the floor of other shapes, tuned
#   full        all legal variants x models x tokens 1..4096 against the reference, default tiles
#   sanitize    compute-sanitizer memcheck and racecheck on one golden layer
#   yardstick   the program given by --yardstick, for times from the same call
# Its last lines are a table of the best slot, separate and overlapped layers of timing and shapes.
# key=value is for the sweeps (tokens=[1,8]). A part that takes longer than --seconds is interrupted
# and said to be incomplete: what it recorded stays, and the same command resumes it. Exit codes:
# 0 all parts passed, 1 one failed, 2 usage, 4 one is incomplete.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
parts=verify,library,quickstart,timing,shapes,full,sanitize,yardstick
only=$parts fselab='' device=hip:0 out=out/h100 yardstick='' seconds=100000 dry=0 keys=()

usage() {
  echo "h100.sh: $1" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --only | --fselab | --device | --out | --yardstick | --seconds)
      [ $# -gt 1 ] || usage "$1 needs a value"
      declare "${1#--}=$2"
      shift 2
      ;;
    --dry-run)
      dry=1
      shift
      ;;
    --help | -h)
      sed -n '2,20s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *=*)
      keys+=("$1")
      shift
      ;;
    *) usage "unknown argument '$1'; --help lists them" ;;
  esac
done
for part in ${only//,/ }; do
  case ",$parts," in *",$part,"*) ;; *) usage "unknown part '$part', expected some of $parts" ;; esac
done
case $seconds in '' | *[!0-9]*) usage "--seconds is '$seconds', expected a whole number" ;; esac
if [ -z "$fselab" ]; then
  for candidate in "$root/build/release/fselab" "$root/build/dev/fselab" "$(command -v fselab)"; do
    [ -x "$candidate" ] && fselab=$candidate && break
  done
fi
[ -n "$fselab" ] || usage "no fselab found, build it or name it with --fselab"
mkdir -p "$out" || exit 3

failed=0 incomplete=0
wants() { case ",$only," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
# attempt NAME COMMAND...: runs it within the time, keeps its output, and notes how it ended.
attempt() {
  local name=$1 log="$out/$1.log" code start=$SECONDS
  shift
  if [ "$dry" = 1 ]; then
    echo "$*"
    return 0
  fi
  echo "== $name: $*"
  timeout --signal=INT --kill-after=20 "$seconds" "$@" >"$log" 2>&1
  code=$?
  case $code in
    0) echo "ok      $name ($((SECONDS - start)) s)" ;;
    4 | 124 | 137)
      incomplete=1
      echo "INCOMPLETE  $name ($((SECONDS - start)) s); the same command resumes: $log"
      ;;
    *)
      failed=1
      echo "FAILED  $name (exit code $code): $log"
      tail -n 15 "$log"
      ;;
  esac
  return "$code"
}
sweep() {  # NAME SWEEP: runs it, then prints its comparison
  local name=$1 db="$out/$1.db"
  attempt "$name" "$fselab" run "$2" "device=$device" ${keys[@]+"${keys[@]}"} --db "$db"
  [ "$dry" = 1 ] || [ ! -f "$db" ] || "$fselab" report --db "$db" --format md | tee "$out/$name.md"
}

if wants verify; then
  for layer in "$root"/tests/golden/*/; do
    name=$(basename "$layer")
    attempt "verify-$name" "$fselab" verify "$layer" --device "$device" &&
      [ "$dry" = 0 ] && tail -n 1 "$out/verify-$name.log"
  done
fi
if wants library; then
  attempt library "$fselab" verify "$root/tests/golden/qwen3_next" --device "$device" \
    --kernel library --tiles all && [ "$dry" = 0 ] && tail -n 1 "$out/library.log"
fi
wants quickstart && sweep quickstart quickstart
wants timing && sweep timing h100-decode
wants shapes && sweep shapes h100-shapes
wants full && sweep full gpu-verify
if wants sanitize; then
  if [ "$dry" = 1 ] || command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      attempt "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 "$fselab" verify \
        "$root/tests/golden/qwen3_next" --device "$device" &&
        [ "$dry" = 0 ] && tail -n 3 "$out/$tool.log"
    done
  else
    echo "skipped sanitize: no compute-sanitizer here"
  fi
fi
if wants yardstick && [ -n "$yardstick" ]; then
  attempt yardstick "$yardstick" && [ "$dry" = 0 ] && cat "$out/yardstick.log"
fi
# Last, and short: the best layer of each kind of every workload that is measured, in microseconds,
# and the best of all over the memory floor.
best_layers="SELECT model, tp, dtype, tokens,
  round(min(iif(variant_shared IN ('slot', 'none'), layer_time_us, NULL)), 2) AS slot_us,
  round(min(iif(variant_shared = 'mlp', layer_time_us, NULL)), 2) AS separate_us,
  round(min(iif(variant_shared = 'mlp_overlapped', layer_time_us, NULL)), 2) AS overlapped_us,
  round(min(layer_time_us / floor_us), 2) AS x_floor
  FROM v_best GROUP BY model, tp, dtype, tokens ORDER BY model, dtype, tokens"
for name in timing shapes; do
  [ "$dry" = 0 ] && [ -f "$out/$name.db" ] || continue
  echo "== best layers, $name"
  "$fselab" db sql "$best_layers" --db "$out/$name.db" --md || failed=1
done
[ "$failed" = 0 ] || exit 1
[ "$incomplete" = 0 ] || exit 4
