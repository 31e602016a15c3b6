# shellcheck shell=bash
# The cluster's certificate authority, and a kubeconfig for each identity. Runs inside the cluster's namespaces.

PKI=/mnt/pki
openssl_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

make_authority() {
    mkdir -m 700 -p "$PKI"
    openssl req -x509 "${openssl_key[@]}" -keyout "$PKI/ca.key" -out "$PKI/ca.crt" -days 30 -subj "/CN=wpclone test cluster"
    # The API server signs the tokens of service accounts with this one.
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$PKI/service-accounts.key"
    openssl pkey -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub"
}

# certificate NAME SUBJECT [ALTERNATIVE_NAMES]. With an extension at least: without one openssl makes certificates of
# version 1, which rustls refuses.
certificate() {
    { echo "basicConstraints=CA:FALSE" && printf '%s\n' ${3:+"subjectAltName=$3"}; } >"$PKI/$1.extensions"
    openssl req "${openssl_key[@]}" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" -subj "$2"
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 30 \
        -out "$PKI/$1.crt" -extfile "$PKI/$1.extensions"
    rm "$PKI/$1.csr" "$PKI/$1.extensions"
}

# kubeconfig NAME: for the identity of that certificate, with all that it needs in the one file.
kubeconfig() {
    cat <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: wpclone-test
    cluster: {server: "https://$NODE_ADDRESS:6443", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}
users:
  - name: $1
    user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}
contexts:
  - {name: wpclone-test, context: {cluster: wpclone-test, user: $1}}
current-context: wpclone-test
YAML
}

# Each program is who kubeadm would make it; the administrator is subject to RBAC like everybody. Only `bootstrap` is not:
# it binds the administrator's role, and is then forgotten.
make_identities() {
    local name
    certificate bootstrap "/O=system:masters/CN=bootstrap"
    certificate admin "/O=wpclone:administrators/CN=admin"
    certificate controller-manager "/CN=system:kube-controller-manager"
    certificate scheduler "/CN=system:kube-scheduler"
    certificate kubelet "/O=system:nodes/CN=system:node:node"
    certificate proxy "/CN=system:kube-proxy"
    certificate kubelet-client "/CN=kube-apiserver-kubelet-client"
    certificate front-proxy "/CN=front-proxy-client"
    certificate kubelet-server "/CN=node" "DNS:node,IP:$NODE_ADDRESS"
    certificate apiserver "/CN=kube-apiserver" \
        "IP:127.0.0.1,IP:$NODE_ADDRESS,IP:$API_SERVICE,DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default"
    certificate keda "/CN=keda" \
        "DNS:keda-operator.keda.svc,DNS:keda-operator.keda.svc.cluster.local,DNS:keda-metrics-apiserver.keda.svc"
    for name in bootstrap controller-manager scheduler kubelet proxy; do kubeconfig "$name" >"$PKI/$name.kubeconfig"; done
}
