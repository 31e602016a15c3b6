# shellcheck shell=bash
# Sourced by ./dev: a real Kubernetes of one node, and the tests that run on it.

CLUSTER=tests/cluster/cluster
CLUSTER_PACKAGES=(
    runc containernetworking-plugins iptables conntrack # what containers run and are connected by
    busybox-static                                      # the images of tests
)

cluster_command() {
    case ${1:-} in
    up | hold | build) install_missing "${CLUSTER_PACKAGES[@]}" ;;
    site)
        site_for_cluster
        return
        ;;
    esac
    exec "$CLUSTER" "$@"
}

# A WordPress to clone: what runs in the cluster reaches this machine and nothing beyond it.
site_for_cluster() {
    local address
    address=$("$CLUSTER" address)
    install
    cargo build --quiet --locked -p wpclone-tests --bin lab
    exec "$(target)/debug/lab" site "$address"
}

# Why there can be no cluster here; nothing when there can.
cluster_obstacle() {
    if [ -n "${WPCLONE_TEST_KUBECONFIG:-}" ]; then return; fi
    "$CLUSTER" check 2>&1 || true
}

# test_cluster COMMAND...: the command runs the tests of tests/cluster, on a cluster that ends with them.
test_cluster() {
    local obstacle
    obstacle=$(cluster_obstacle)
    if [ -n "$obstacle" ]; then
        say "THE CLUSTER TESTS ARE SKIPPED: $obstacle"
        record "cluster tests" "SKIPPED" "no cluster can be made here"
        # What is asked for is not passed by being skipped.
        FAILED=1
        return
    fi
    install_missing "${CLUSTER_PACKAGES[@]}"
    LAST=passed
    if [ -z "${WPCLONE_TEST_KUBECONFIG:-}" ]; then step "cluster programs" "$CLUSTER" build; fi
    [ $LAST = passed ] || return 0
    # The product runs in the cluster as it is shipped, from its images; a site of this machine is cloned.
    step "images" env WPCLONE_IMAGE_PROFILE=dev ./dev images
    [ $LAST = passed ] || return 0
    install_wordpress
    step "programs of sites" cargo build --quiet --locked -p wpclone-tests --bin lab
    [ $LAST = passed ] || return 0
    step "cluster tests" "$@"
    # The cluster ends with the tests' process, of itself; what is asked here is that it has ended.
    if [ -z "${WPCLONE_TEST_KUBECONFIG:-}" ]; then step "cluster's end" env WPCLONE_CLUSTER=tests "$CLUSTER" down; fi
}

# `./dev test cluster [WORD...]`: nothing else of the workspace is built.
test_cluster_alone() {
    test_cluster cargo test --quiet --locked -p wpclone-cluster-tests -- "$@"
}
