#!/usr/bin/env bash
# Every check of style and types. All are run, then the script fails if one did.
set -uo pipefail
failed=()

check() {
    local name=$1
    shift
    if ! "$@"; then
        failed+=("$name")
    fi
}

# It takes as long as all others together, and one core.
sanity_log=$(mktemp)
setsid python scripts/sanity.py >"$sanity_log" 2>&1 &
sanity=$!
trap 'kill -- "-$sanity" 2>/dev/null; rm -f "$sanity_log"' EXIT

mapfile -t shell_scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)

check ruff ruff check --quiet .
check 'ruff format' ruff format --quiet --check .
check 'mypy plugins' env MYPYPATH=build/collections mypy --no-error-summary \
    -p ansible_collections.taskflow.operator.plugins.module_utils
check 'mypy controller' mypy --no-error-summary -p taskflow_controller
check 'mypy agent' env MYPYPATH=roles/taskflow_agent/files/agent mypy --no-error-summary -p taskflow_agent
check 'mypy cluster' env MYPYPATH=dev/roles/taskflow_cluster/files/programs mypy --no-error-summary \
    dev/roles/taskflow_cluster/files/{engine,programs}
check yamllint yamllint --strict .
check "docs/api.md, docs/builds.md" python scripts/api_docs.py --check
check documentation python scripts/docs_site.py
check shellcheck shellcheck "${shell_scripts[@]}"
check ansible-lint ansible-lint --offline --profile production --strict
check 'antsibull-changelog' antsibull-changelog lint
check 'antsibull-docs' antsibull-docs lint-collection-docs --plugin-docs \
    build/collections/ansible_collections/taskflow/operator
check ansible-test wait "$sanity"
cat "$sanity_log"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
echo "lint passed"
