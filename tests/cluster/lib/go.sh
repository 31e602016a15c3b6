# shellcheck shell=bash
# The Go toolchain, and what it tells about modules.

export GOWORK=off GOFLAGS='' CGO_ENABLED=0

# Asked where go.mod wants the version: Go from 1.21 on fetches that one by itself.
have_go() {
    (cd "$CLUSTER_SOURCE/modules/kubernetes" && go version) 2>/dev/null | grep -qE ' go1\.(2[6-9]|[3-9][0-9])'
}

need_go() {
    have_go || die "building a Kubernetes needs Go ${GO_VERSION%.*} or newer, and this machine has $(
        command -v go >/dev/null && go version | cut -d' ' -f3 || echo none
    ). Get it, for all users of the machine, with
    curl -fsSL https://go.dev/dl/go$GO_VERSION.linux-$(dpkg --print-architecture).tar.gz | sudo tar -C /usr/local -xz
  or name a cluster that you have and that may be filled with rubbish:
    WPCLONE_TEST_KUBECONFIG=FILE ./dev test cluster"
}

# module_folder MODULE@VERSION: where its source lies, fetched if need be.
module_folder() {
    (cd / && GO111MODULE=on go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p'
}
