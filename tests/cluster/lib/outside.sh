# shellcheck shell=bash
# Starts and ends the cluster, from the machine's side.

CGROUP=wpclone-cluster-$CLUSTER_ID
# How long a start may take, and an end.
UP_LIMIT=300 DOWN_LIMIT=60

# Namespaces, mounts and containers are root's. Who is not root has the command run by sudo, with the same settings.
need_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null || die "needs root, and there is no sudo"
    exec sudo -- env WPCLONE_CACHE="$CACHE" WPCLONE_CLUSTER="${WPCLONE_CLUSTER:-}" \
        WPCLONE_TEST_KUBECONFIG="${WPCLONE_TEST_KUBECONFIG:-}" "$CLUSTER_SOURCE/cluster" "$@"
}

need_packages() {
    local program missing=()
    for program in runc iptables conntrack nsenter unshare setpriv ip openssl /usr/lib/cni/bridge /usr/lib/cni/portmap; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] || die "not installed: ${missing[*]}. On Debian: apt-get install --no-install-recommends \
runc containernetworking-plugins iptables conntrack util-linux iproute2 openssl"
}

# A pattern of the processes of this cluster, which are known by their arguments: those that started it, and process 1 of
# its namespaces.
cluster_processes() {
    local state
    # shellcheck disable=SC2016 # characters of regular expressions
    state=$(printf '%s' "$STATE" | sed 's/[][\.*^$+?(){}|]/\\&/g')
    printf '%s' "^([^ ]*/)?(bash|unshare|setsid|setpriv) .*/lib/inside\.sh $state "
}

# The number of the process that is process 1 of this cluster's namespaces; nothing where there is none. It is known by
# its arguments, so also after a crash of who started it.
cluster_init() {
    local pid
    for pid in $(pgrep -f -- "$(cluster_processes)"); do
        # In the namespace of its own, it is number 1.
        if grep -qE '^NSpid:.*\s1$' "/proc/$pid/status" 2>/dev/null; then
            echo "$pid"
            return
        fi
    done
}

is_running() { [ -e "$STATE/ready" ] && [ -n "$(cluster_init)" ]; }

# start_cluster LAUNCHER...: in the background; the launcher decides with whom it ends.
start_cluster() {
    local number link host node
    mkdir -m 711 -p "$STATE"
    mkdir -p "$STATE/log"
    number=$(free_link) || die "no link to the cluster can be made: $(tail -n 1 "$STATE/log/link.log")"
    link=wpc$number host=$(host_address "$number") node=198.18.200.$((4 * number + 2))
    "$@" unshare --mount --pid --fork --kill-child --net --ipc --mount-proc -- \
        "$CLUSTER_SOURCE/lib/inside.sh" "$STATE" "$PROGRAMS" "$MANIFESTS" "$node" "$host" "$CGROUP" \
        </dev/null >>"$STATE/log/supervisor.log" 2>&1 &
    until_true 20 "the cluster's namespaces" is_started ||
        die "the cluster's namespaces were not made: $(tail -n 5 "$STATE/log/supervisor.log")"
    ip address add "$host/30" dev "$link"
    ip link set "$link" up
    ip link set "$link-node" name node0 netns "$(cluster_init)"
}

# The machine's address of the link to a cluster, which is a /30 network of 198.18.200.0/24.
host_address() { echo "198.18.200.$((4 * $1 + 1))"; }

is_started() { [ -n "$(cluster_init)" ]; }

# Takes the first number whose link can be made: its name is there once, whoever tries at the same time.
free_link() {
    local number
    for number in $(seq 0 63); do
        if ip link add "wpc$number" type veth peer name "wpc$number-node" 2>>"$STATE/log/link.log"; then
            echo "$number" | tee "$STATE/link"
            return
        fi
    done
    return 1
}

await_ready() {
    local began=$SECONDS
    until [ -e "$STATE/ready" ]; do
        if [ -e "$STATE/failed" ]; then
            die "$(cat "$STATE/failed")"
        elif [ -z "$(cluster_init)" ]; then
            die "the cluster ended while it started: $(tail -n 5 "$STATE/log/supervisor.log")"
        elif ((SECONDS - began >= UP_LIMIT)); then
            die "the cluster was not ready after $UP_LIMIT s: $(tail -n 5 "$STATE/log/supervisor.log")"
        fi
        sleep 0.1
    done
}

# One start or end at a time. The lock lies beside the state, which comes and goes.
lock_cluster() {
    mkdir -p "$CACHE/cluster"
    exec 9>"$STATE.lock"
    flock --wait 600 9 || die "somebody else has been starting or ending this cluster for ten minutes"
}

# bring_up LAUNCHER...: a failed start leaves its logs and nothing else.
bring_up() {
    local began
    need_packages
    lock_cluster
    if is_running; then
        say "the cluster runs already"
        return
    fi
    began=$SECONDS
    take_down
    trap 'take_down keep' EXIT
    trap 'exit 130' INT TERM
    start_cluster "$@" 9>&-
    await_ready
    chown "${SUDO_UID:-0}" "$STATE/kubeconfig"
    trap - EXIT INT TERM
    exec 9>&-
    say "the cluster is ready after $((SECONDS - began)) s"
}

cluster_up() {
    # In a session of its own it goes on when the terminal is closed.
    build_all
    need_root up
    bring_up setsid
    say "kubeconfig: $STATE/kubeconfig; './dev cluster kubectl get pods -A' shows what runs"
}

# For tests: says where the kubeconfig is, and ends the cluster when whoever has started this is gone, however. When this
# process itself is killed, the kernel ends the cluster; files that are left then go with the next start or end.
cluster_hold() {
    build_all
    need_root hold
    bring_up setpriv --pdeathsig KILL
    echo "$STATE/kubeconfig"
    exec 1>&-
    trap 'exit 130' INT TERM
    trap cluster_down EXIT
    cat >/dev/null
}

cluster_down() {
    local began=$SECONDS
    trap - EXIT
    need_root down
    lock_cluster
    take_down
    exec 9>&-
    say "no cluster is left ($((SECONDS - began)) s)"
}

# take_down [keep]: ends what runs and removes what is left, in whatever state it is; `keep` keeps the logs.
take_down() {
    trap - EXIT
    pkill -KILL -f -- "$(cluster_processes)" || true
    # The first of them is gone only when all in its namespaces are: pods as well, mounts and interfaces with them.
    until_true "$DOWN_LIMIT" "the end of the cluster's processes" no_process || die "processes of the cluster do not end:
$(pgrep -af -- "$(cluster_processes)")"
    remove_link
    remove_cgroups
    if [ "${1:-}" = keep ]; then
        find "$STATE" -mindepth 1 -maxdepth 1 ! -name log ! -name failed -exec rm -rf {} +
    else
        rm -rf "$STATE"
    fi
}

no_process() { ! pgrep -f -- "$(cluster_processes)"; }

# The kernel removes both ends of the link some time after the namespace.
remove_link() {
    local link
    link=wpc$(cat "$STATE/link" 2>/dev/null) || return 0
    ip link delete "$link" 2>/dev/null || true
    rm -f "$STATE/link"
}

remove_cgroups() {
    until_true 20 "the end of the cluster's cgroups" \
        unshare --mount bash -ec '. "$1/lib/cgroups.sh" && remove_cgroup "$2"' - "$CLUSTER_SOURCE" "$CGROUP" ||
        die "cgroups named $CGROUP cannot be removed"
}
