# Shared by the scripts here: finds a Python, makes .venv from a lock file with hashes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv="$root/.venv"
# compiled modules are kept, so that a second start is quick
unset PYTHONDONTWRITEBYTECODE

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "hausd needs Python 3.11 or newer; on Debian: apt install python3 python3-venv"
}

# set_up LOCKFILE: makes or renews .venv; does nothing, and needs no network, where it is current.
set_up() {
    lock="$root/$1"
    stamp="$venv/.hausd-$1"
    if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then
        return
    fi
    python=$(find_python)
    say "setting up $venv (once; about a minute) ..."
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" ||
        die "no virtual environment could be made; on Debian: apt install python3-venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "$lock" || die "the packages of $1 could not be installed (see above)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --no-index -e "$root" ||
        die "hausd itself could not be installed (see above)"
    cp "$lock" "$stamp"
}
