# shellcheck shell=bash
# Volumes of the class `test`: each claim gets a folder of the node, which goes with the claim. Runs inside the cluster's
# namespaces.

start_volumes() {
    start volumes-for-claims follow make_volume persistentvolumeclaims --all-namespaces -o \
        'jsonpath={.status.phase}|{.spec.storageClassName}|{.metadata.uid}|{.metadata.namespace}|{.metadata.name}|{.spec.resources.requests.storage}{"\n"}'
    start volumes-without-claims follow remove_volume persistentvolumes -o \
        'jsonpath={.status.phase}|{.spec.storageClassName}|{.metadata.name}{"\n"}'
}

# follow COMMAND KIND OPTION...: runs the command for each state of each object, with the columns that are asked for. The
# API server ends a watch from time to time; what has not changed is then seen again.
follow() {
    local command=$1 columns
    shift
    while :; do
        admin get "$@" --watch | while IFS='|' read -r -a columns; do "$command" "${columns[@]}" || true; done || true
        sleep 1
    done
}

make_volume() {
    local phase=$1 class=$2 volume=pvc-$3 namespace=$4 claim=$5 size=$6
    if [ "$phase $class" != "Pending test" ]; then return; fi
    # Whoever the pod's user is, it may write.
    mkdir -p -m 777 "/mnt/volumes/$volume"
    admin create -f - <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $volume}
spec:
  storageClassName: test
  capacity: {storage: $size}
  accessModes: [ReadWriteOnce, ReadOnlyMany, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: $namespace, name: $claim, uid: $3}
  hostPath: {path: /mnt/volumes/$volume, type: Directory}
YAML
}

remove_volume() {
    local phase=$1 class=$2 volume=$3
    if [ "$phase $class" != "Released test" ]; then return; fi
    rm -rf "/mnt/volumes/$volume"
    admin delete persistentvolume "$volume" --ignore-not-found --wait=false
}
