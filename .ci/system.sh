#!/usr/bin/env bash
# Installs the system packages of the browser tests where apt and root allow it, and otherwise says
# what is missing. Never fails: the tests that need them are skipped with a reason, or fail in CI.
set -uo pipefail

has_chromium() {
    [ -n "${UNLEARNKIT_CHROMIUM:-}" ] && return
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return
    done
    return 1
}

missing=()
has_chromium || missing+=(chromium)
if command -v dpkg-query >/dev/null; then
    # Without a font Chromium draws empty boxes; the data set is the full Fashion-MNIST, 70,000 images.
    for package in fonts-dejavu-core dataset-fashion-mnist; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "system packages missing: ${missing[*]} (as root: apt-get install ${missing[*]})"
    exit 0
fi

echo "system packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt-get update -qq >"$log" 2>&1 || tail -n 3 "$log"
# One at a time: a release that lacks one of them still gets the others.
for package in "${missing[@]}"; do
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$package" \
        >"$log" 2>&1 </dev/null || { echo "apt-get could not install $package:"; tail -n 5 "$log"; }
done
exit 0
