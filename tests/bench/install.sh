#!/usr/bin/env bash
# Installs the servers that `make bench` measures beside ours, perf and valgrind from the distribution, and Bun from npm
# into target/bench-peers. Does nothing that is done already. What cannot be had is named, and left out of the results.
set -uo pipefail
cd "$(dirname "$0")/../.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Daemons are in directories that only root looks in.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
packages=()
command -v nginx >/dev/null || packages+=(nginx)
[ -e /etc/nginx/modules-enabled/50-mod-nchan.conf ] || packages+=(libnginx-mod-nchan)
command -v nats-server >/dev/null || packages+=(nats-server)
command -v mosquitto >/dev/null || packages+=(mosquitto)
command -v perf >/dev/null || packages+=(linux-perf)
command -v valgrind >/dev/null || packages+=(valgrind)
command -v npm >/dev/null || packages+=(npm)
if [ "${#packages[@]}" -gt 0 ]; then
    as_root apt-get update -qq
    # One by one: a package that this distribution lacks leaves out one server, not all. None is started: bench runs its own.
    for package in "${packages[@]}"; do
        as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
            echo "cannot install $package" >&2
    done
fi

# Apart from the tests' node_modules: npm removes what an install without a manifest does not name.
bun=1.4.5
directory=target/bench-peers
installed="$(node -p "require('./$directory/node_modules/bun/package.json').version" 2>/dev/null)"
if [ "$installed" != "$bun" ]; then
    mkdir -p "$directory"
    npm install --prefix "$directory" --no-save --no-package-lock --no-audit --no-fund --loglevel=error "bun@$bun" ||
        echo "cannot install bun" >&2
fi
exit 0
