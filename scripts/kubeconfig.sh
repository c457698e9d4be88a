#!/usr/bin/env bash
# Print the path of the kubeconfig that `make up` leaves; or of one's own, where TASKFLOW_REGISTRY says that there is one.
set -euo pipefail
if [ -n "${TASKFLOW_REGISTRY:-}" ]; then
    echo "${KUBECONFIG:?TASKFLOW_REGISTRY is set, so KUBECONFIG has to be, too}"
    exit
fi
echo "${XDG_STATE_HOME:-$HOME/.local/state}/taskflow-cluster/kubeconfig"
