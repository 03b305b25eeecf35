#!/usr/bin/env bash
# Installs what the tests need beside Rust: etcd, promtool, valgrind, Chromium, Go, tmux, buildah and musl from the
# distribution, Python packages into .venv, buf, jose and playwright-core into node_modules. Does nothing that is done
# already.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages=()
command -v etcd >/dev/null || packages+=(etcd-server)
command -v promtool >/dev/null || packages+=(prometheus)
command -v valgrind >/dev/null || packages+=(valgrind)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
command -v npm >/dev/null || packages+=(npm)
command -v tmux >/dev/null || packages+=(tmux)
command -v chromium >/dev/null || packages+=(chromium)
command -v go >/dev/null || packages+=(golang-go)
command -v curl >/dev/null || packages+=(curl)
command -v buildah >/dev/null || packages+=(buildah)
command -v newuidmap >/dev/null || packages+=(uidmap)
command -v musl-gcc >/dev/null || packages+=(musl-tools)
[ -d /usr/share/ca-certificates/mozilla ] || packages+=(ca-certificates)
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || packages+=(fonts-dejavu-core)
if [ "${#packages[@]}" -gt 0 ]; then
    as_root apt-get update -qq
    # Neither server is started: the tests run their own.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

requirements=tests/python/requirements.txt
if ! cmp -s "$requirements" .venv/installed; then
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" .venv/installed
fi

# All at once: npm removes what an install without a manifest does not name.
buf=1.75.0
jose=6.2.18
playwright=1.65.1
installed() { node -p "require('./node_modules/$1/package.json').version" 2>/dev/null; }
if [ "$(installed @bufbuild/buf)" != "$buf" ] || [ "$(installed jose)" != "$jose" ] ||
    [ "$(installed playwright-core)" != "$playwright" ]; then
    npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
        "@bufbuild/buf@$buf" "jose@$jose" "playwright-core@$playwright"
fi
