#!/bin/sh
# The dynamodb source and sink against servers that are not ours: npm's dynalite and Python's moto, each
# started here, with Amazon's boto3 on the other side. They are installed below $BUILD (default build/);
# OFFPEAK names the program. A server that cannot be installed is said and passed over; exit 1 when a
# check failed or there was none. Arguments choose servers (default: both).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
export OFFPEAK="${OFFPEAK:-$root/build/offpeak}"
work=$build/conformance
venv=$work/venv
mkdir -p "$work/node"
[ -x "$OFFPEAK" ] || { echo "conformance: $OFFPEAK is missing; run 'make' first" >&2; exit 2; }
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"

install() {
    case $1 in
    boto3) "$venv/bin/python" -c 'import boto3' 2>/dev/null ||
        "$venv/bin/pip" install --quiet --disable-pip-version-check boto3 ;;
    moto) [ -x "$venv/bin/moto_server" ] ||
        "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server,dynamodb]' ;;
    dynalite) [ -e "$work/node/node_modules/dynalite/package.json" ] ||
        npm install --silent --no-audit --no-fund --prefix "$work/node" dynalite ;;
    *) echo "conformance: no server '$1'" >&2; exit 2 ;;
    esac
}

server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
}
trap finish EXIT INT TERM

# start NAME: an empty server on a free port, its address in $url
start() {
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    url=http://127.0.0.1:$port
    case $1 in
    dynalite) node "$work/node/node_modules/dynalite/cli.js" --host 127.0.0.1 --port "$port" \
        --createTableMs 50 >"$work/dynalite.log" 2>&1 & ;;
    moto) "$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/moto.log" 2>&1 & ;;
    esac
    server=$!
    for _ in $(seq 300); do
        python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && return
        sleep 0.1
    done
    echo "conformance: $1 did not start" >&2
    exit 2
}

[ $# -gt 0 ] || set -- dynalite moto
install boto3
failed=0 done=0
for name in "$@"; do
    if ! install "$name"; then
        echo "conformance: $name cannot be installed, so it is not asked" >&2
        continue
    fi
    start "$name"
    "$venv/bin/python" "$here/dynamodb.py" "$url" "$name" || failed=1
    done=1
    kill "$server"
    wait "$server" || true
    server=
done
[ $done = 1 ] || failed=1
exit $failed
