#!/bin/sh
# The official Anthropic SDKs, unmodified, against `offpeak emulate`. They are installed below
# $BUILD (default build/); OFFPEAK names the program. Prints one line a check, ends with the sums;
# exit 1 when a check failed. ANTHROPIC_PYTHON and ANTHROPIC_NODE choose versions (default: newest).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
offpeak=${OFFPEAK:-$root/build/offpeak}
work=$build/conformance
mkdir -p "$work"

if [ ! -x "$offpeak" ]; then
    echo "conformance: $offpeak is missing; run 'make' first" >&2
    exit 2
fi
if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
fi
if [ ! -e "$work/venv/.installed" ]; then
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
        "anthropic${ANTHROPIC_PYTHON:+==$ANTHROPIC_PYTHON}"
    touch "$work/venv/.installed"
fi
if [ ! -e "$work/node/node_modules/@anthropic-ai/sdk/package.json" ]; then
    mkdir -p "$work/node"
    npm install --silent --no-audit --no-fund --prefix "$work/node" \
        "@anthropic-ai/sdk${ANTHROPIC_NODE:+@$ANTHROPIC_NODE}"
fi
# An ES module is resolved from where it lies.
cp "$here/anthropic_sdk.mjs" "$work/node/"

emulator=
finish() {
    [ -z "$emulator" ] || kill "$emulator" 2>/dev/null || true
}
trap finish EXIT INT TERM

# start NAME [OPTION...]: a fresh emulator, its address in $url
start() {
    name=$1
    shift
    rm -rf "$work/$name"
    mkdir -p "$work/$name"
    : > "$work/$name/log" # read below, maybe before the emulator has run at all
    "$offpeak" emulate --listen 127.0.0.1:0 --dir "$work/$name/state" --speed 100 "$@" \
        >> "$work/$name/log" &
    emulator=$!
    url=
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$work/$name/log")
        [ -n "$url" ] && return
        sleep 0.1
    done
    echo "conformance: the emulator did not start" >&2
    exit 2
}
stop() {
    kill "$emulator"
    wait "$emulator" || true
    emulator=
}

failed=0
for sdk in python node; do
    for kind in plain faults; do
        if [ $kind = plain ]; then
            start $sdk-$kind
        else
            start $sdk-$kind --faults "$here/faults.jsonl"
        fi
        if [ $sdk = python ]; then
            "$work/venv/bin/python" "$here/anthropic_sdk.py" "$url" $kind || failed=1
        else
            node "$work/node/anthropic_sdk.mjs" "$url" $kind || failed=1
        fi
        stop
    done
done
exit $failed
