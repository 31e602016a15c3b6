# shellcheck shell=bash
# What all parts of the test cluster share: places, messages, waiting.

# shellcheck source=versions.sh
. "$CLUSTER_SOURCE/lib/versions.sh"

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'cluster: %s\n' "$*" >&2
    exit 1
}

# Everything lies below the cache: programs once per set of versions, a running cluster's state once per checkout.
CACHE=${WPCLONE_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/wpclone}
digest() { cat "$@" | sha256sum | cut -c1-12; }
PROGRAMS=$CACHE/cluster/$(digest "$CLUSTER_SOURCE"/lib/versions.sh "$CLUSTER_SOURCE"/modules/*/go.*)
MANIFESTS=manifests-$(digest "$CLUSTER_SOURCE"/addons/*/*)
# A second cluster of the same checkout has a name of its own.
CLUSTER_ID=$(printf '%s' "$CLUSTER_SOURCE${WPCLONE_CLUSTER:+ $WPCLONE_CLUSTER}" | sha256sum | cut -c1-8)
STATE=$CACHE/cluster/state-$CLUSTER_ID

# until_true SECONDS WHAT COMMAND...: repeats the command until it succeeds; says what was awaited when it never did.
until_true() {
    local limit=$1 what=$2 began=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS - began >= limit)); then
            say "waited $limit s in vain for $what"
            return 1
        fi
        sleep 0.1
    done
}
