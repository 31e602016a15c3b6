# shellcheck shell=bash
# The programs of the test cluster and their versions: the only place that names them.
#
# `./dev cluster lock` turns this into modules/*/go.mod and go.sum, which builds are made from.

# Raised when programs or images are built in another way from the same versions.
BUILD_FORMAT=1

GO_VERSION=1.26.0
KUBERNETES_VERSION=1.36.3

# Each build: its name, and what it takes on a machine with two cores and empty caches.
BUILDS=(kubernetes containerd coredns kro keda metrics-server)
declare -A BUILD_MINUTES=([kubernetes]=5 [containerd]=2 [coredns]=2 [kro]=2 [keda]=8 [metrics-server]=2)

# The module that holds a build's programs.
declare -A BUILD_MODULE=(
    [kubernetes]=k8s.io/kubernetes@v$KUBERNETES_VERSION
    # Kubernetes 1.36 wants containerd 2; Debian 12 has 1.6.
    [containerd]=github.com/containerd/containerd/v2@v2.4.2
    [coredns]=github.com/coredns/coredns@v1.15.0
    [kro]=github.com/kubernetes-sigs/kro@v0.9.4
    [keda]=github.com/kedacore/keda/v2@v2.21.0
    [metrics-server]=sigs.k8s.io/metrics-server@v0.9.0
)

# The programs of a build: PACKAGE=NAME. etcd is built at the version that Kubernetes requires of its client.
declare -A BUILD_PROGRAMS=(
    [kubernetes]="k8s.io/kubernetes/cmd/kube-apiserver=kube-apiserver
        k8s.io/kubernetes/cmd/kube-controller-manager=kube-controller-manager
        k8s.io/kubernetes/cmd/kube-scheduler=kube-scheduler
        k8s.io/kubernetes/cmd/kubelet=kubelet
        k8s.io/kubernetes/cmd/kube-proxy=kube-proxy
        k8s.io/kubernetes/cmd/kubectl=kubectl
        go.etcd.io/etcd/server/v3=etcd"
    [containerd]="github.com/containerd/containerd/v2/cmd/containerd=containerd
        github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2=containerd-shim-runc-v2
        github.com/containerd/containerd/v2/cmd/ctr=ctr"
    [coredns]="github.com/coredns/coredns=coredns"
    [kro]="github.com/kubernetes-sigs/kro/cmd/controller=kro"
    [keda]="github.com/kedacore/keda/v2/cmd/operator=keda
        github.com/kedacore/keda/v2/cmd/adapter=keda-adapter"
    [metrics-server]="sigs.k8s.io/metrics-server/cmd/metrics-server=metrics-server"
)

# Storage drivers that need libraries of C.
declare -A BUILD_TAGS=([containerd]="no_btrfs,no_zfs,no_devmapper")

# Variables that a release sets while it links. kubectl refuses to work without a version of its own.
version_variables() {
    local version=k8s.io/component-base/version rest
    case $1 in
    kubernetes)
        rest=${KUBERNETES_VERSION#*.}
        printf '%s\n' "$version.gitVersion=v$KUBERNETES_VERSION" "$version.gitMajor=${KUBERNETES_VERSION%%.*}" \
            "$version.gitMinor=${rest%%.*}"
        ;;
    containerd) echo "github.com/containerd/containerd/v2/version.Version=${BUILD_MODULE[containerd]#*@}" ;;
    esac
}
