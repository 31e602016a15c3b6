#!/usr/bin/env bash
# Process 1 of the cluster's own namespaces (processes, mounts, network): starts the programs and watches them. When it
# ends, in whatever way, the kernel ends all of them and removes the mounts and the network.
#
#     inside.sh STATE PROGRAMS MANIFESTS NODE_ADDRESS HOST_ADDRESS CGROUP
set -euo pipefail
STATE=$1 PROGRAMS=$2 MANIFESTS=$3 NODE_ADDRESS=$4 HOST_ADDRESS=$5 CGROUP=$6
LIB=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# 198.18.0.0/15 is set aside for tests. The addresses of pods and services are seen inside alone, so each cluster has
# the same.
POD_ADDRESSES=198.18.0.0/17 SERVICE_ADDRESSES=198.19.0.0/24 API_SERVICE=198.19.0.1 DNS_SERVICE=198.19.0.10

for part in cgroups pki programs control-plane node volumes addons; do
    # shellcheck source=/dev/null
    . "$LIB/$part.sh"
done

# What programs take for granted about paths holds, and nothing of it is the machine's: /mnt is the cluster's state, /opt
# its programs.
private_folders() {
    mkdir -p "$STATE"/{log,var-lib,tmp,volumes}
    mount --bind "$PROGRAMS" /opt
    mount --bind "$STATE" /mnt
    mount --bind /mnt/var-lib /var/lib
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/log
    echo "nameserver $DNS_SERVICE" >/mnt/resolv.conf
    resolve_in_cluster
    mkdir -p /run/netns
    export PATH=/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/mnt/tmp HOME=/mnt/tmp
}

# Where the machine's own is a link into /run, what it points at is not there any more.
resolve_in_cluster() {
    local file
    file=$(readlink -m /etc/resolv.conf)
    case $file in /run/*) mkdir -p "$(dirname "$file")" && touch "$file" ;; esac
    mount --bind /mnt/resolv.conf "$file"
}

# The link to the machine is made from outside. Nothing forwards beyond it.
network() {
    await 20 "the link to the machine" ip link show node0
    ip link set lo up
    ip address add "$NODE_ADDRESS/30" dev node0
    ip link set node0 up
    ip route add default via "$HOST_ADDRESS"
    # Connections whose process is gone would hold the network, and the link, for minutes after the end.
    sysctl -qw net.ipv4.ip_forward=1 net.ipv4.tcp_orphan_retries=1 net.ipv4.tcp_fin_timeout=1
}

main() {
    private_folders
    stage "certificates"
    { make_authority && make_identities; } 2>/mnt/log/certificates.log ||
        fail "the certificates were not made: $(tail -n 5 /mnt/log/certificates.log)"
    network
    start_containerd
    import_images &
    local images=$!
    start_control_plane
    bootstrap_roles
    start_node
    start_volumes
    apply_addons
    stage "images"
    wait "$images" || fail "the images of the cluster could not be imported: $(tail -n 5 /mnt/log/images.log)"
    start_scheduler
    stage "node"
    await 60 "the node to be Ready" node_is_ready
    await_addons
    stage "ready"
    touch /mnt/ready
    watch_programs
}

# Twice: a namespace of cgroups begins at the one that its first process is in.
if [ "${7:-}" = in-cgroup ]; then
    mount_cgroups
    delegate_controllers
    main
else
    mount_cgroups
    enter_cgroup "$CGROUP"
    exec unshare --cgroup -- "$LIB/inside.sh" "$@" in-cgroup
fi
