#!/usr/bin/env bash
# Builds a target of docker/Dockerfile without a container engine's service: base by debootstrap, image by buildah.
# usage: docker/build_local.sh [target]    the image is localhost/csvd-node:<target>; as root
# The base and what was downloaded are kept for the next time; CSVD_BUILD_LAYERS=true keeps every step as well, which makes
# the first build longer.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-cpu}
release=bookworm
base=localhost/csvd-node-base:$release
buildah=(buildah --storage-driver "${CSVD_STORAGE_DRIVER:-overlay}")
ca=/etc/ssl/certs/ca-certificates.crt

if ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase "$release" "$root/base" >"$root/log" || { tail "$root/log"; exit 1; }
  # As Debian's slim image: without manuals and package lists.
  printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/base/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$root"/base/usr/share/{doc,man,locale,info}/* "$root"/base/var/{cache/apt,lib/apt/lists,log}/*
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add --quiet "$container" "$root/base" / >/dev/null
  "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
fi

"${buildah[@]}" bud --isolation chroot --format docker --pull=never --layers="${CSVD_BUILD_LAYERS:-false}" \
  --build-arg BASE="$base" \
  --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
  --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
  --build-arg CREATED="$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ)" \
  --secret id=ca,src="$ca" \
  --target "$target" --tag "localhost/csvd-node:$target" --file docker/Dockerfile .
