# shellcheck shell=bash
# etcd, the API server, the controllers and the scheduler. Runs inside the cluster's namespaces.

start_control_plane() {
    stage "etcd and API server"
    # What is written need not survive the machine.
    start etcd etcd --data-dir /mnt/etcd --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380
    start_api_server
    await_program kube-apiserver 90 "the API server" bootstrap get --raw /readyz
    stage "controllers"
    # The autoscaler looks each 15 s and waits 5 minutes before it scales down; a test wants to see it sooner.
    start kube-controller-manager kube-controller-manager --leader-elect=false \
        --kubeconfig "$PKI/controller-manager.kubeconfig" --use-service-account-credentials \
        --authentication-kubeconfig "$PKI/controller-manager.kubeconfig" \
        --authorization-kubeconfig "$PKI/controller-manager.kubeconfig" \
        --service-account-private-key-file "$PKI/service-accounts.key" --root-ca-file "$PKI/ca.crt" \
        --kube-api-qps 100 --kube-api-burst 150 \
        --horizontal-pod-autoscaler-sync-period 5s --horizontal-pod-autoscaler-downscale-stabilization 15s
}

# Later than the others: the kubelet waits ten seconds with a pod whose image it does not find at first.
start_scheduler() {
    stage "scheduler"
    start kube-scheduler kube-scheduler --leader-elect=false --kubeconfig "$PKI/scheduler.kubeconfig" \
        --authentication-kubeconfig "$PKI/scheduler.kubeconfig" --authorization-kubeconfig "$PKI/scheduler.kubeconfig" \
        --kube-api-qps 100 --kube-api-burst 150
}

start_api_server() {
    start kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
        --secure-port 6443 --bind-address 0.0.0.0 --advertise-address "$NODE_ADDRESS" \
        --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt" \
        --authorization-mode Node,RBAC --allow-privileged=true \
        --service-cluster-ip-range "$SERVICE_ADDRESSES" \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$PKI/service-accounts.pub" \
        --service-account-signing-key-file "$PKI/service-accounts.key" \
        --kubelet-preferred-address-types InternalIP --kubelet-certificate-authority "$PKI/ca.crt" \
        --kubelet-client-certificate "$PKI/kubelet-client.crt" --kubelet-client-key "$PKI/kubelet-client.key" \
        --enable-aggregator-routing=true \
        --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key" \
        --requestheader-client-ca-file "$PKI/ca.crt" --requestheader-allowed-names front-proxy-client \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra-
}

bootstrap() { kubectl --kubeconfig "$PKI/bootstrap.kubeconfig" "$@"; }
admin() { kubectl --kubeconfig /mnt/kubeconfig "$@"; }

# The two roles that nobody but a member of system:masters can give; from then on nobody is one.
# KEDA's certificates come before KEDA.
bootstrap_roles() {
    bootstrap apply -f - <<YAML || fail "the first roles were refused"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "wpclone:administrators"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "wpclone:administrators"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "wpclone:kubelet-client"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: kube-apiserver-kubelet-client}
---
apiVersion: v1
kind: Namespace
metadata: {name: keda}
---
apiVersion: v1
kind: Secret
metadata: {name: kedaorg-certs, namespace: keda}
type: kubernetes.io/tls
data:
  ca.crt: $(base64 -w0 "$PKI/ca.crt")
  tls.crt: $(base64 -w0 "$PKI/keda.crt")
  tls.key: $(base64 -w0 "$PKI/keda.key")
YAML
    rm "$PKI"/bootstrap.*
    (umask 077 && kubeconfig admin >/mnt/kubeconfig.new)
    mv /mnt/kubeconfig.new /mnt/kubeconfig
}
