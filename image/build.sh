#!/usr/bin/env bash
# Builds the image IMAGE:TAG from the Containerfile with buildah, docker or podman, whichever is there first; arguments are
# passed on to its `build`. With PLATFORMS=linux/amd64,linux/arm64 IMAGE:TAG is a manifest with an image for each.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
name=${IMAGE:-pushcast}:${TAG:-$version}

engine() {
    for engine in buildah docker podman; do
        if command -v "$engine"; then return; fi
    done
    echo "image/build.sh: needs buildah, docker or podman" >&2
    return 1
}
engine=${ENGINE:-$(engine)}

arguments=(--file Containerfile --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
# No default: an address that is not true is worse than none.
[ -z "${SOURCE:-}" ] || arguments+=(--label "org.opencontainers.image.source=$SOURCE")
[ -z "${PLATFORMS:-}" ] || arguments+=(--platform "$PLATFORMS")

if [ -n "${PLATFORMS:-}" ] && [ "${engine##*/}" != docker ]; then
    # They would add to a manifest that is there already.
    "$engine" manifest rm "$name" >/dev/null 2>&1 || true
    arguments+=(--manifest "$name")
else
    arguments+=(--tag "$name")
fi

"$engine" build "${arguments[@]}" "$@" .
