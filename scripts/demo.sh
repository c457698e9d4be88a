#!/usr/bin/env bash
# Apply one Task, show its line of `kubectl get tasks` whenever it changes, then each step's log in order.
# Usage: demo.sh FILE
set -euo pipefail
file=$1
here=$(dirname "$0")
KUBECONFIG=$("$here/kubeconfig.sh")
export KUBECONFIG
limit=120 # seconds for the Task to end

run() {
    echo "\$ $*"
    "$@"
}

name=$(kubectl create --dry-run=client -o 'jsonpath={.metadata.name}' -f "$file")
if kubectl get task "$name" >/dev/null 2>&1; then
    run kubectl delete task "$name" # so that it runs again from the start
fi
run kubectl apply -f "$file"

last='' state=''
end=$((SECONDS + limit))
while [ "$state" != Successful ] && [ "$state" != Failure ]; do
    if [ $SECONDS -ge $end ]; then
        echo "error: Task $name has not ended after $limit seconds:" >&2
        kubectl describe task "$name" >&2
        exit 1
    fi
    table=$(kubectl get tasks "$name")
    read -r _ state _ < <(tail -n 1 <<<"$table")
    now=$(tail -n 1 <<<"$table" | awk '{ NF--; print }') # all but the age
    if [ "$now" != "$last" ]; then
        printf '$ kubectl get tasks %s\n%s\n' "$name" "$table"
    fi
    last=$now
    sleep 0.2
done

pod=$(kubectl get task "$name" -o 'jsonpath={.status.podName}')
for step in $(kubectl get task "$name" -o 'jsonpath={.spec.steps[*].name}'); do
    echo "\$ kubectl logs $pod -c $step"
    kubectl logs "$pod" -c "$step" | awk 'NR <= 3 { print } { last = $0 } END { if (NR > 3) print "... " NR " lines, the last:", last }'
done
[ "$state" = Successful ]
