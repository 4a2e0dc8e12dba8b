#!/bin/sh
# Make .venv with a Python of at least 3.11. Debian splits `venv` off into a package: install it if we may.
set -eu
python=$1

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    for newer in python3.13 python3.12 python3.11; do
        if command -v "$newer" >/dev/null; then python=$newer; break; fi
    done
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Quire needs Python 3.11 or newer; this is $("$python" --version). Try: make PYTHON=python3.12" >&2
    exit 1
}
[ -x .venv/bin/pip ] && exit 0
echo "Making .venv with $("$python" --version) ..."
if ! "$python" -m venv .venv 2>/dev/null; then
    rm -rf .venv
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null
        "$python" -m venv .venv
    else
        echo "Python's venv module is missing. On Debian: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
