#!/bin/sh
# Makes the certificates and kubeconfigs of a native cluster. What exists is kept.
# usage: pki.sh DIR KUBECONFIG API_URL NODE_NAME NODE_ADDRESS SERVICE_ADDRESS
set -eu
umask 077

dir=$1
kubeconfig=$2
api_url=$3
node_name=$4
node_address=$5
service_address=$6
days=3650

# certificate NAME SUBJECT EXTENSIONS
certificate() {
    [ ! -s "$dir/$1.crt" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$dir/$1.key" -out "$dir/$1.csr" -subj "$2" 2>/dev/null
    printf '%s\n' "$3" >"$dir/$1.ext"
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial \
        -days "$days" -extfile "$dir/$1.ext" -out "$dir/$1.crt.new" 2>/dev/null
    mv "$dir/$1.crt.new" "$dir/$1.crt"
    rm "$dir/$1.csr" "$dir/$1.ext"
}

# client NAME SUBJECT KUBECONFIG: a client certificate, and a kubeconfig that needs no other file
client() {
    certificate "$1" "$2" "extendedKeyUsage=clientAuth"
    [ ! -s "$3" ] || return 0
    cat >"$3.new" <<YAML
---
apiVersion: v1
kind: Config
current-context: taskflow
clusters:
  - name: taskflow
    cluster:
      server: $api_url
      certificate-authority-data: $(base64 -w0 <"$dir/ca.crt")
contexts:
  - name: taskflow
    context:
      cluster: taskflow
      user: $1
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 <"$dir/$1.crt")
      client-key-data: $(base64 -w0 <"$dir/$1.key")
YAML
    mv "$3.new" "$3"
}

mkdir -p "$dir"

if [ ! -s "$dir/ca.crt" ]; then
    # What an older authority has signed would not be believed.
    rm -f "$dir"/*.crt "$dir"/*.kubeconfig "$kubeconfig"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
        -subj /CN=taskflow-cluster-ca -keyout "$dir/ca.key" -out "$dir/ca.crt.new" 2>/dev/null
    mv "$dir/ca.crt.new" "$dir/ca.crt"
fi

if [ ! -s "$dir/service-account.pub" ]; then
    openssl genrsa -out "$dir/service-account.key" 2048 2>/dev/null
    openssl rsa -in "$dir/service-account.key" -pubout -out "$dir/service-account.pub.new" 2>/dev/null
    mv "$dir/service-account.pub.new" "$dir/service-account.pub"
fi

names="DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
certificate apiserver /CN=kube-apiserver \
    "subjectAltName=$names,DNS:localhost,IP:127.0.0.1,IP:$service_address,IP:$node_address"
certificate kubelet-server "/O=system:nodes/CN=system:node:$node_name" \
    "subjectAltName=DNS:$node_name,IP:$node_address"
certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client \
    "extendedKeyUsage=clientAuth"

client admin /O=system:masters/CN=taskflow-admin "$kubeconfig"
client kubelet "/O=system:nodes/CN=system:node:$node_name" "$dir/kubelet.kubeconfig"
client controller-manager /CN=system:kube-controller-manager "$dir/controller-manager.kubeconfig"
client scheduler /CN=system:kube-scheduler "$dir/scheduler.kubeconfig"
client kube-proxy /CN=system:kube-proxy "$dir/kube-proxy.kubeconfig"
