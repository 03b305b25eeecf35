#!/usr/bin/env bash
# The container image, built from a static binary of this machine and used as Kubernetes would use it. What is compiled is
# compiled here; all else happens in namespaces that end, with every mount and process in them, when the tests do: no port
# of this machine is taken, and what buildah keeps is in target/image-test. Who is not root gets a user namespace beside.
set -euo pipefail
cd "$(dirname "$0")/../.."

QUICK=1 image/root.sh target/image

own=target/image-test
rm -rf "$own" 2>/dev/null || buildah unshare rm -rf "$own"
mkdir -p "$own"
cat > "$own/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$PWD/$own/storage"
runroot = "$PWD/$own/run"
END
export CONTAINERS_STORAGE_CONF=$PWD/$own/storage.conf BUILDAH_ISOLATION=chroot

isolated=(unshare --mount --net --pid --fork --kill-child --mount-proc)
[ "$(id -u)" = 0 ] || isolated=(buildah unshare -- "${isolated[@]}")
exec timeout --signal=KILL 900 "${isolated[@]}" .venv/bin/python -m unittest discover -s tests/image
