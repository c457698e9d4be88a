#!/usr/bin/env bash
# Print the path of the kubeconfig that `make up` leaves.
set -euo pipefail
echo "${XDG_STATE_HOME:-$HOME/.local/state}/taskflow-cluster/kubeconfig"
