# shellcheck shell=bash
# What runs in pods of the cluster: DNS, kro, KEDA, metrics-server. Runs inside the cluster's namespaces.

# In one call: each start of kubectl asks the API server for all that it has.
apply_addons() {
    stage "DNS, kro, KEDA, metrics-server"
    sed "s/CERTIFICATE_AUTHORITY/$(base64 -w0 "$PKI/ca.crt")/" /opt/"$MANIFESTS"/*.yaml |
        admin apply --server-side -f - >/mnt/log/addons.log 2>&1 ||
        fail "the manifests of the addons were refused: $(tail -n 5 /mnt/log/addons.log)"
}

# metrics-server is not awaited: it has figures after two of its rounds of 15 s.
await_addons() {
    local addon
    stage "pods of DNS, kro and KEDA"
    for addon in kube-system/coredns kro-system/kro keda/keda-operator keda/keda-metrics-apiserver; do
        await_addon "${addon%/*}" "${addon#*/}"
    done
}

await_addon() {
    local output
    output=$(admin wait --namespace "$1" "deployment/$2" --for condition=Available --timeout 90s 2>&1) && return
    fail "$2 does not become available: $output
$(admin get pods --namespace "$1" --output wide 2>&1)
$(admin logs --namespace "$1" "deployment/$2" --tail 20 2>&1)"
}
