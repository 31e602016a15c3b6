# shellcheck shell=bash
# The Go toolchain, and what it tells about modules.

export GOWORK=off GOFLAGS= CGO_ENABLED=0

# Go from 1.21 on fetches the version that go.mod asks for by itself.
have_go() {
    PATH=$PATH:/usr/local/go/bin
    (cd "$CLUSTER_SOURCE/modules" && command -v go && go version) 2>/dev/null |
        grep -qE 'go1\.(2[6-9]|[3-9][0-9])' || fetched_go
}

# With an older Go, in a module that asks for a newer one.
fetched_go() {
    command -v go >/dev/null && (cd "$CLUSTER_SOURCE/modules/kubernetes" && go version) >/dev/null 2>&1
}

need_go() {
    have_go || die "building a Kubernetes needs Go ${GO_VERSION%.*} or newer, and this machine has $(
        command -v go >/dev/null && go version | cut -d' ' -f3 || echo none
    ). Get it, for all users of the machine, with
    curl -fsSL https://go.dev/dl/go$GO_VERSION.linux-$(dpkg --print-architecture).tar.gz | sudo tar -C /usr/local -xz
  and have /usr/local/go/bin in PATH; or name a cluster that you have and that may be filled with rubbish:
    WPCLONE_TEST_KUBECONFIG=FILE ./dev test cluster"
}

# module_folder MODULE@VERSION: where its source lies, fetched if need be.
module_folder() {
    (cd / && GO111MODULE=on go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p'
}
