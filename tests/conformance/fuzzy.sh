#!/bin/sh
# fuzzy_match and fuzzy_search against rapidfuzz (RAPIDFUZZ: its version; default: newest), installed below $BUILD.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${BUILD:-$root/build}/conformance
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
[ -e "$work/venv/.rapidfuzz" ] || "$work/venv/bin/pip" install --quiet --disable-pip-version-check "rapidfuzz${RAPIDFUZZ:+==$RAPIDFUZZ}"
touch "$work/venv/.rapidfuzz"
rm -rf "$work/fuzzy"
"$work/venv/bin/python" "$here/fuzzy.py" "${OFFPEAK:-$root/build/offpeak}" "$work/fuzzy"
