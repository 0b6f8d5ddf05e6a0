#!/bin/sh
# The official SDKs, unmodified, against `offpeak emulate`. They are installed below $BUILD (default
# build/); OFFPEAK names the program. Prints the failures and a line of sums for each script; exit 1
# when a check failed. ANTHROPIC_PYTHON, ANTHROPIC_NODE, OPENAI_PYTHON and so on choose versions
# (default: newest). Arguments choose providers (default: all).
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
python_sdk() {
    [ -e "$work/venv/.$1" ] && return
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$1${2:+==$2}"
    touch "$work/venv/.$1"
}
node_sdk() {
    [ -e "$work/node/node_modules/$1/package.json" ] && return
    mkdir -p "$work/node"
    npm install --silent --no-audit --no-fund --prefix "$work/node" "$1${2:+@$2}"
}
install() {
    case $1 in
    anthropic)
        python_sdk anthropic "${ANTHROPIC_PYTHON:-}"
        node_sdk @anthropic-ai/sdk "${ANTHROPIC_NODE:-}"
        ;;
    openai)
        python_sdk openai "${OPENAI_PYTHON:-}"
        node_sdk openai "${OPENAI_NODE:-}"
        ;;
    gemini)
        python_sdk google-genai "${GEMINI_PYTHON:-}"
        node_sdk @google/genai "${GEMINI_NODE:-}"
        ;;
    mistral)
        python_sdk mistralai "${MISTRAL_PYTHON:-}"
        node_sdk @mistralai/mistralai "${MISTRAL_NODE:-}"
        ;;
    *)
        echo "conformance: no provider '$1'" >&2
        exit 2
        ;;
    esac
}

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
    "$offpeak" emulate --listen 127.0.0.1:0 --dir "$work/$name/state" "$@" \
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

# Whatever expires shall not be waited for: the others' faults run on a faster clock.
speed_of() {
    case $1-$2 in
    anthropic-*) echo 100 ;;
    *-plain) echo 300 ;;
    *) echo 20000 ;;
    esac
}

[ $# -gt 0 ] || set -- anthropic openai gemini mistral
failed=0
for provider in "$@"; do
    install "$provider"
done
# An ES module is resolved from where it lies.
cp "$here"/*.mjs "$work/node/"
for provider in "$@"; do
    for sdk in python node; do
        for kind in plain faults; do
            faults=
            [ $kind = plain ] || faults=$here/${provider}_faults.jsonl
            start $provider-$sdk-$kind --speed $(speed_of $provider $kind) \
                ${faults:+--faults "$faults"}
            if [ $sdk = python ]; then
                "$work/venv/bin/python" "$here/${provider}_sdk.py" "$url" $kind || failed=1
            else
                node "$work/node/${provider}_sdk.mjs" "$url" $kind || failed=1
            fi
            stop
        done
    done
done
exit $failed
