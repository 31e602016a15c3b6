# shellcheck shell=bash
# What one asks a running cluster, from the machine's side.

kubeconfig_file() {
    if [ -n "${WPCLONE_TEST_KUBECONFIG:-}" ]; then
        echo "$WPCLONE_TEST_KUBECONFIG"
    elif is_running; then
        echo "$STATE/kubeconfig"
    else
        die "no cluster runs; './dev cluster up' starts one"
    fi
}

cluster_address() {
    is_running || die "no cluster runs; './dev cluster up' starts one"
    host_address "$(cat "$STATE/link")"
}

# Sets KUBECTL to the command that asks the cluster.
find_kubectl() {
    local file kubectl=$PROGRAMS/bin/kubectl
    file=$(kubeconfig_file) || exit 1
    [ -x "$kubectl" ] || kubectl=kubectl
    KUBECTL=("$kubectl" --kubeconfig "$file")
}

cluster_kubectl() {
    find_kubectl
    "${KUBECTL[@]}" "$@"
}

# cluster_kubeconfig NAMESPACE NAME: a kubeconfig for that service account, valid for a day.
cluster_kubeconfig() {
    local token
    [ $# -eq 2 ] || die "kubeconfig takes a namespace and the name of a service account in it"
    token=$(cluster_kubectl create token "$2" --namespace "$1" --duration 24h) || exit 1
    cluster_kubectl config view --raw --minify --flatten --output json | token=$token python3 -c '
import json, os, sys
config = json.load(sys.stdin)
config["users"][0]["user"] = {"token": os.environ["token"]}
json.dump(config, sys.stdout, indent=2)'
}

# cluster_import FILE...: archives, as `docker save`, `podman save` and `buildah push oci-archive:` make them. Whose the
# cluster is, is known by the name of its context.
cluster_import() {
    local archive context file
    [ $# -gt 0 ] || die "import takes the names of archives"
    file=$(kubeconfig_file)
    context=$(cluster_kubectl config current-context)
    if [ "$context" = wpclone-test ]; then need_root import "$@"; fi
    for archive in "$@"; do
        [ -r "$archive" ] || die "$archive cannot be read"
        case $context in
        wpclone-test) within "$(dirname "$file")" ctr --namespace k8s.io images import --local --discard-unpacked-layers - <"$archive" >&2 ;;
        kind-*) kind load image-archive "$archive" --name "${context#kind-}" ;;
        k3d-*) k3d image import "$archive" --cluster "${context#k3d-}" ;;
        *) die "how to load an image into '$context' is not known; kind's and k3d's clusters are" ;;
        esac || die "$archive was not loaded"
    done
}

# within STATE COMMAND...: in the namespaces of that cluster, with its programs.
within() {
    local STATE=$1
    shift
    nsenter --target "$(cluster_init)" --mount --pid --net --ipc -- env PATH="/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

cluster_logs() {
    local log
    [ -d "$STATE/log" ] || die "there are no logs: nothing was started"
    if [ $# -eq 0 ]; then
        for log in "$STATE"/log/*.log; do basename "$log" .log; done
        return
    fi
    [ -e "$STATE/log/$1.log" ] || die "there is no program '$1'; './dev cluster logs' lists them"
    cat "$STATE/log/$1.log"
}

cluster_status() {
    if ! is_running; then
        say "no cluster runs"
        if is_started; then say "one is starting: $(tail -n 1 "$STATE/log/supervisor.log")"; fi
        if [ -e "$STATE/failed" ]; then say "the last one failed: $(cat "$STATE/failed")"; fi
        if [ ! -e "$PROGRAMS/complete" ]; then say "its programs are not built; some $(minutes_left) minutes"; fi
        return 1
    fi
    need_root status
    echo "kubeconfig $STATE/kubeconfig"
    echo "programs   $PROGRAMS ($(du -sh "$PROGRAMS" | cut -f1)), state $(du -sh "$STATE" | cut -f1)"
    echo
    within "$STATE" ps -eo rss,etimes,comm --no-headers | memory_table
    echo
    cluster_versions
    echo
    cluster_kubectl get pods --all-namespaces
}

cluster_versions() {
    local build
    for build in "${BUILDS[@]}"; do echo "${BUILD_MODULE[$build]/@/ }"; done | column -t
    echo "node       $(cluster_kubectl get node node -o 'jsonpath={.status.nodeInfo.kubeletVersion} {.status.nodeInfo.containerRuntimeVersion}')" \
        "$(runc --version | head -n 1)"
}

# Resident memory by program. What is no program of the node runs in pods.
memory_table() {
    awk '
        { count[$3]++; memory[$3] += $1; total += $1; if ($2 > age[$3]) age[$3] = $2 }
        END {
            for (name in count) printf "%-24s %3d  %8.1f MiB  up %d s\n", name, count[name], memory[name] / 1024, age[name] | "sort -k3 -rn"
            close("sort -k3 -rn")
            printf "%-24s      %8.1f MiB\n", "all", total / 1024
        }'
}
