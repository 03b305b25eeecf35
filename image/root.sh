#!/bin/sh
# Compiles the three programs, static, and makes a directory with every file of the image: image/root.sh DIRECTORY. The
# build stage of the Containerfile calls it, `make image-scratch` too. QUICK=1 compiles without optimising, for tests.
set -eu
root=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

# A program that is linked to musl needs nothing of the image, not even to look up names.
target=$(uname -m)-unknown-linux-musl
# As Debian's ca-certificates has them: what this machine trusts beside them is not for an image.
certificates=/usr/share/ca-certificates/mozilla

if [ -n "${QUICK:-}" ]; then
    # The development profile by another name would compile all that runs at build time anew.
    profile=debug options="--config profile.dev.opt-level=0 --config profile.dev.debug=false"
else
    profile=release options="--release --config profile.release.debug=false"
fi
if command -v rustup >/dev/null; then rustup target add "$target"; fi
# shellcheck disable=SC2086
cargo build --locked --target "$target" -p push-manager -p connect-node -p pushctl --bins $options

rm -rf "${root:?}"/*
install -d "$root/etc/ssl/certs"
for program in push-manager connect-node pushctl; do
    install -m 755 -s "target/$target/$profile/$program" "$root/$program"
done
install -m 644 LICENSE "$root/LICENSE"
cat "$certificates"/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' > "$root/etc/passwd"
echo 'nonroot:x:65532:' > "$root/etc/group"
chmod 644 "$root"/etc/passwd "$root"/etc/group "$root"/etc/ssl/certs/ca-certificates.crt
