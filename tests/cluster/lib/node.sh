# shellcheck shell=bash
# containerd with its images, the kubelet and kube-proxy. Runs inside the cluster's namespaces.

start_containerd() {
    stage "containerd"
    mkdir -p /mnt/cni
    cat >/mnt/cni/10-pods.conflist <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isDefaultGateway": true, "hairpinMode": true, "ipMasq": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_ADDRESSES"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
    # Without CAP_SYS_RESOURCE no process may be made less likely to be killed than it is.
    cat >/mnt/containerd.toml <<'TOML'
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:cluster"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "/mnt/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
TOML
    start containerd containerd --config /mnt/containerd.toml
}

# In the background, while the API server starts.
import_images() {
    local archive began=$SECONDS
    until ctr version; do
        if ((SECONDS - began > 60)); then return 1; fi
        sleep 0.1
    done
    for archive in pause coredns kro keda keda-adapter metrics-server; do
        ctr --namespace k8s.io images import "/opt/images/$archive.tar" || return
    done
} >/mnt/log/images.log 2>&1

start_node() {
    stage "kubelet and kube-proxy"
    cat >/mnt/kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
address: $NODE_ADDRESS
healthzPort: 0
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: [$DNS_SERVICE]
maxPods: 400
serializeImagePulls: false
kubeAPIQPS: 100
kubeAPIBurst: 150
# A machine of any kind: cgroups of version 1 or 2, no systemd, fewer capabilities than a node usually has.
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
featureGates: {KubeletInUserNamespace: true}
# The machine's disk and memory are others' as well: nothing is to be evicted for what they use.
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
YAML
    start kubelet kubelet --config /mnt/kubelet.yaml --kubeconfig "$PKI/kubelet.kubeconfig" \
        --hostname-override node --node-ip "$NODE_ADDRESS"
    # The limits of the kernel's connection tracking are the machine's.
    cat >/mnt/kube-proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI/proxy.kubeconfig}
mode: iptables
clusterCIDR: $POD_ADDRESSES
hostnameOverride: node
healthzBindAddress: 127.0.0.1:10256
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
    start kube-proxy kube-proxy --config /mnt/kube-proxy.yaml
}

node_is_ready() {
    admin get node node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -x True
}
