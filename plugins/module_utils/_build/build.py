# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What a Build comes to: a Task whose first step clones the source, and the Job that runs that Task's Pod. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
import urllib.parse

from .. import _contract as c
from .._contract import Object
from .._errors import InvalidSpec
from .._kube.kind import BUILD, JOB, TASK
from .._kube.owner import owner_reference, owners_of
from .._kube.shapes import Build, BuildSpec, ClonedRepository, Job, Pod, Step, Task, TaskSpec
from .._pod.identity import NAME_MAX, label_value

# A new value of it builds the same spec again.
REQUEST_ANNOTATION = "build.taskflow/request"
BUILD_LABEL = "build.taskflow/build"
HASH_ANNOTATION = "build.taskflow/hash"
# Whose the Pods of a Job are, for a controller that watches them (the Operator SDK's names).
PRIMARY_ANNOTATION, PRIMARY_TYPE_ANNOTATION = (
    "operator-sdk/primary-resource",
    "operator-sdk/primary-resource-type",
)

CLONE_STEP, ONLY_STEP, REVISION = "clone", "build", "revision"
WORKSPACE_VOLUME, WORKSPACE = "workspace", "/workspace"
HOME_VOLUME, HOME = "build-home", "/build/home"
SECRET_VOLUME, SECRET_DIR = "build-git-secret", "/build/git-secret"
RESERVED_VOLUMES = (WORKSPACE_VOLUME, HOME_VOLUME, SECRET_VOLUME)
REVISION_VARIABLE = "BUILD_REVISION"
DEFAULT_REVISION = "HEAD"
DEFAULT_GIT_IMAGE = "docker.io/alpine/git:2.47.2"
GIT_IMAGE_ENV = "TASKFLOW_GIT_IMAGE"

# What may change in a spec without a new Job.
CONTROL_FIELDS = ("suspend", "ttlSecondsAfterFinished")
# The schema's defaults. The digest of a spec leaves out what is as they have it, so that a later version may add one.
DEFAULTS: Object = {"backoffLimit": 0, "source": {"git": {"revision": DEFAULT_REVISION}}}
# What a single step may have in the spec itself.
STEP_FIELDS: t.Final = ("command", "args", "script")
HASH_LENGTH = 10

# $1 is the URL, $2 the revision, $3 a directory with a Secret's files, which may not be there. The checkout's owner
# may be another user than the directory's: hence safe.directory, which all steps get through their environment.
# What git says of a failure becomes the step's message.
CLONE_SCRIPT = """\
#!/bin/sh
set -eu
url=$1 revision=$2 secret=$3
said=$HOME/said
fail() {
    tail -c 1000 "$said" | tee /dev/termination-log >&2
    exit 1
}
if [ -f "$secret/ssh-privatekey" ]; then
    (umask 077 && cat "$secret/ssh-privatekey" >"$HOME/key")
    known=accept-new
    if [ -f "$secret/known_hosts" ]; then
        known=yes
        cp "$secret/known_hosts" "$HOME/known_hosts"
    fi
    export GIT_SSH_COMMAND="ssh -i $HOME/key -o UserKnownHostsFile=$HOME/known_hosts -o StrictHostKeyChecking=$known"
elif [ -f "$secret/password" ]; then
    host=${url#*://}
    host=${host%%/*}
    export GIT_SECRET="$secret"
    # For this host alone, wherever it may send git.
    git config --global "credential.${url%%://*}://${host##*@}.helper" '!f() {
        [ "$1" = get ] || exit 0
        printf "username=%s\\n" "$(cat "$GIT_SECRET/username" 2>/dev/null || echo git)"
        printf "password=%s\\n" "$(cat "$GIT_SECRET/password")"
    }; f'
fi
git init --quiet . 2>"$said" || fail
git remote add origin "$url" 2>"$said" || fail
echo "fetching $revision of $url"
# One commit is enough; a server that does not give it by its hash gives all.
if git fetch --quiet --depth 1 --end-of-options origin "$revision" 2>"$said"; then
    commit=FETCH_HEAD
else
    first=$(cat "$said")
    git fetch --quiet --tags origin 2>"$said" || fail
    commit=$(git rev-parse --quiet --verify --end-of-options "$revision^{commit}" 2>/dev/null) || {
        printf '%s\\nrevision %s is not in the repository\\n' "$first" "$revision" >"$said"
        fail
    }
fi
git -c advice.detachedHead=false checkout --quiet "$commit" 2>"$said" || fail
git rev-parse HEAD | tr -d '\\n' >"$(results.revision.path)"
git log -1 --format='at %H %s'
"""


def build_hash(build: Build) -> str:
    """Return what tells one wanted state from another: a digest of the spec and of the request to build it again.

    It tells the states of different Builds apart, too: their Jobs' names may begin alike.
    """
    metadata = build["metadata"]
    spec = _beside({k: v for k, v in build["spec"].items() if k not in CONTROL_FIELDS}, DEFAULTS)
    request = (metadata.get("annotations") or {}).get(REQUEST_ANNOTATION, "")
    state = json.dumps([metadata["uid"], spec, request], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()[:HASH_LENGTH]


def _beside(spec: Object, defaults: Object) -> Object:
    """Return what of a spec is not as the defaults have it."""
    others = {key: value for key, value in spec.items() if key not in defaults or value != defaults[key]}
    return {
        key: _beside(value, defaults[key]) if key in defaults and isinstance(value, dict) else value
        for key, value in others.items()
    }


def job_name(build: Build) -> str:
    """Return the name of the wanted state's Job. It is short enough for a label, its Pods' names included."""
    suffix = f"-{build_hash(build)}"
    room = NAME_MAX - len(suffix) - len("-abcde")
    return str(build["metadata"]["name"]).replace(".", "-")[:room].rstrip("-") + suffix


def labels_of(build: Build) -> dict[str, str]:
    """Return the labels that every Job of a Build, and every Pod of those, carries."""
    return {BUILD_LABEL: label_value(build["metadata"]["name"])}


def is_for(job: Job, build: Build) -> bool:
    """Tell whether a Job is the Build's, or one's of the same name before it, which may be ending still."""
    owners = [(owner.get("kind"), owner.get("name")) for owner in owners_of(job)]
    return (BUILD.name, build["metadata"]["name"]) in owners


def is_pod_for(pod: Pod, build: Build) -> bool:
    """Tell whether a Pod is of such a Job. It says so itself, for its Job may be gone already."""
    return _primary_annotations(build).items() <= (pod["metadata"].get("annotations") or {}).items()


def _primary_annotations(build: Build) -> dict[str, str]:
    metadata = build["metadata"]
    primary = f"{metadata['namespace']}/{metadata['name']}"
    return {PRIMARY_ANNOTATION: primary, PRIMARY_TYPE_ANNOTATION: f"{BUILD.name}.{BUILD.group}"}


def as_task(build: Build, git_image: str) -> Task:
    """Return the Task that does a Build's work: its first step clones the source, the others are the Build's own.

    Args:
        build: the Build, as the API server returns it.
        git_image: an image with git and sh.

    Raises:
        InvalidSpec: a field is wrong.
    """
    spec = build["spec"]
    _check_source(spec["source"]["git"])
    _check_volumes(spec)
    # Git refuses a checkout whose directory is another user's, as a volume's is.
    environment = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": WORKSPACE}
    own = [*_variables(environment), *(spec.get("env") or [])]
    task_spec: TaskSpec = {
        "stepTemplate": {
            "image": spec["image"],
            "env": own,
            "workingDir": WORKSPACE,
            "volumeMounts": [{"name": WORKSPACE_VOLUME, "mountPath": WORKSPACE}],
        },
        "steps": [_clone_step(spec, git_image), *map(_with_revision, _own_steps(spec))],
        "volumes": [*_volumes(spec), *(spec.get("volumes") or [])],
        "podTemplate": spec.get("podTemplate") or {},
        "serviceAccountName": spec.get("serviceAccountName") or "",
    }
    return {"apiVersion": TASK.api_version, "kind": TASK.name, "metadata": build["metadata"], "spec": task_spec}


def build_job(build: Build, pod: Pod) -> Job:
    """Return the Job of a Build's wanted state.

    Args:
        build: the Build, as the API server returns it.
        pod: the Pod of as_task(), as build_pod() makes it.
    """
    metadata, spec = build["metadata"], build["spec"]
    template = (spec.get("podTemplate") or {}).get("metadata") or {}
    job_spec: Object = {
        "backoffLimit": int(spec.get("backoffLimit") or 0),
        # A Pod that somebody deletes is replaced when it has ended (Kubernetes 1.29 and later), not before.
        "podReplacementPolicy": "Failed",
        "template": {
            "metadata": {
                "labels": {**(template.get("labels") or {}), **labels_of(build)},
                "annotations": {
                    **(template.get("annotations") or {}),
                    c.ORDER_ANNOTATION: str(c.ORDER_INITIAL),
                    **_primary_annotations(build),
                },
            },
            "spec": pod["spec"],
        },
    }
    if spec.get("activeDeadlineSeconds"):
        job_spec["activeDeadlineSeconds"] = spec["activeDeadlineSeconds"]
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": job_name(build),
            "namespace": metadata["namespace"],
            "labels": labels_of(build),
            "annotations": {HASH_ANNOTATION: build_hash(build)},
            "ownerReferences": [owner_reference(BUILD, build)],
        },
        "spec": job_spec,
    }


def own_field(error: InvalidSpec, build: Build) -> InvalidSpec:
    """Return an error of the Task as one of the Build: with the field that its author wrote."""
    field = re.sub(r"^spec\.stepTemplate\b", "spec", error.field)
    match = re.match(r"^spec\.steps\[(\d+)\](.*)$", field)
    if match:
        number, rest = int(match[1]), match[2]
        if number == 0:
            field = "spec.source"
        elif build["spec"].get("steps"):
            field = f"spec.steps[{number - 1}]{rest}"
        else:
            field = f"spec{rest}"
    return InvalidSpec(field, error.message.removeprefix(f"{error.field}: "))


def secret_name(build: Build) -> str:
    """Return the name of the Secret that opens the repository, "" without one."""
    return str((build["spec"]["source"]["git"].get("secretRef") or {}).get("name") or "")


def _clone_step(spec: BuildSpec, git_image: str) -> Step:
    git = spec["source"]["git"]
    mounts: list[Object] = [{"name": HOME_VOLUME, "mountPath": HOME}]
    if git.get("secretRef"):
        mounts.append({"name": SECRET_VOLUME, "mountPath": SECRET_DIR, "readOnly": True})
    return {
        "name": CLONE_STEP,
        "image": git_image,
        "script": CLONE_SCRIPT,
        "args": [_plain(git["url"]), _plain(git.get("revision") or DEFAULT_REVISION), SECRET_DIR],
        "env": _variables({"HOME": HOME, "GIT_TERMINAL_PROMPT": "0"}),
        "volumeMounts": mounts,
    }


def _plain(text: str) -> str:
    """Return a word in which nothing is a reference for the Task, or a variable for the kubelet."""
    return text.replace("$", "$$")


def _own_steps(spec: BuildSpec) -> list[Step]:
    if spec.get("steps"):
        return list(spec["steps"])
    step: Step = {"name": ONLY_STEP}
    for key in STEP_FIELDS:
        if spec.get(key):
            step[key] = spec[key]
    return [step]


def _with_revision(step: Step) -> Step:
    """Return a step that is told which commit it builds."""
    revision = {REVISION_VARIABLE: f"$(steps.{CLONE_STEP}.results.{REVISION})"}
    return {**step, "env": [*_variables(revision), *(step.get("env") or [])]}


def _variables(values: t.Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _volumes(spec: BuildSpec) -> list[Object]:
    volumes: list[Object] = [{"name": name, "emptyDir": {}} for name in (WORKSPACE_VOLUME, HOME_VOLUME)]
    secret = spec["source"]["git"].get("secretRef")
    if secret:
        volumes.append({"name": SECRET_VOLUME, "secret": {"secretName": secret["name"], "defaultMode": 0o444}})
    return volumes


def _check_source(git: ClonedRepository) -> None:
    """Refuse what git would take for something else than a URL or a revision, and a password in the URL."""
    url, revision = git["url"], git.get("revision") or DEFAULT_REVISION
    if url.startswith("-") or url.startswith("ext::"):
        raise InvalidSpec("spec.source.git.url", f"{url!r} is no URL of a repository")
    try:
        password = urllib.parse.urlsplit(url).password
    except ValueError as error:
        raise InvalidSpec("spec.source.git.url", f"{url!r} is no URL: {error}") from error
    if password is not None:
        raise InvalidSpec("spec.source.git.url", "has a password in it: put it in a Secret, and name that in secretRef")
    if revision.startswith("-"):
        raise InvalidSpec("spec.source.git.revision", f"{revision!r} is no branch, tag or commit")


def _check_volumes(spec: BuildSpec) -> None:
    for index, volume in enumerate(spec.get("volumes") or []):
        if volume.get("name") in RESERVED_VOLUMES:
            raise InvalidSpec(f"spec.volumes[{index}].name", f"{volume['name']!r} is reserved for the operator")
