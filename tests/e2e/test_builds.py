"""Builds: a repository is cloned and built by one Job at a time, whatever is asked for meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml
from support import ROOT, Cluster, Object, condition
from support.builds import Source, make_build
from support.facts import facts, needs_own_cluster
from support.registry.git_server import GitServer
from support.registry.git_ssh_server import GitSshServer

pytestmark = needs_own_cluster
USER, PASSWORD = "builder", "a secret word"
FINAL = ("Successful", "Failure")
# Ends when it is told to, by a file in the checkout.
WAIT = "while [ ! -e told ]; do sleep 0.2; done"


@pytest.fixture
def private_url(source: Source) -> Iterator[str]:
    """The repository, for those who know the password."""
    with GitServer(source.folder.parent, facts().gateway, (USER, PASSWORD)) as server:
        yield f"{server.url}/site"


def wait_for(cluster: Cluster, name: str, what: str, test: Callable[[Object], object]) -> Object:
    """Wait until a Build's status, of its present generation, is as wanted, and return the Build."""

    def found() -> Object | None:
        build = cluster.get("build", name)
        status = build.get("status") or {}
        current = status.get("observedGeneration") == build["metadata"]["generation"]
        return build if current and test(status) else None

    wanted: Object = cluster.wait(f"Build {name}: {what}", found)
    return wanted


def finished(cluster: Cluster, name: str) -> Object:
    return wait_for(cluster, name, "the end", lambda status: status.get("phase") in FINAL)


def running(cluster: Cluster, name: str) -> Object:
    """Wait until the Build's own first step runs."""
    states = [["Succeeded", "Running"], ["Succeeded", "Running", "Waiting"]]
    return wait_for(cluster, name, "a step", lambda s: [step["state"] for step in s.get("steps", [])] in states)


def pods_of(cluster: Cluster, name: str) -> list[Object]:
    return cluster.list("pods", f"build.taskflow/build={name}")


def alive_pods(cluster: Cluster) -> set[str]:
    """Return the UIDs of the Pods of Build site in which something may run."""
    return {p["metadata"]["uid"] for p in pods_of(cluster, "site") if p["status"]["phase"] in ("Pending", "Running")}


def pod_of(cluster: Cluster, build: Object) -> str:
    """Return the name of the Pod of a Build's Job; that of one of the same name before it may still be there."""
    job = cluster.get("job", build["status"]["jobName"])["metadata"]
    pods = cluster.list("pods", f"job-name={job['name']}")
    (pod,) = [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == job["uid"]]
    return str(pod["metadata"]["name"])


def test_a_build_clones_runs_its_steps_and_succeeds(cluster, source, url):
    cluster.apply(make_build("site", url))
    build = finished(cluster, "site")
    assert (build["status"]["phase"], build["status"]["revision"]) == ("Successful", source.first)
    assert [step["state"] for step in build["status"]["steps"]] == ["Succeeded"] * 3
    pod = pod_of(cluster, build)
    assert cluster.logs(pod, "show") == "one\n"
    assert cluster.logs(pod, "say") == f"commit {source.first}\n"
    header, line = cluster.run("get", "builds").stdout.splitlines()
    assert header.split() == ["NAME", "STATUS", "REVISION", "JOB", "DURATION", "AGE"]
    assert line.split()[:4] == ["site", "Successful", source.first, build["status"]["jobName"]]
    # The same wanted state is built once.
    cluster.apply(make_build("site", url))
    cluster.patch("build", "site", {"metadata": {"labels": {"team": "a"}}})
    cluster.patch("build", "site", {"spec": {"suspend": True}})
    wait_for(cluster, "site", "the change seen", lambda status: status.get("phase") == "Successful")
    assert [job["metadata"]["name"] for job in cluster.list("jobs")] == [build["status"]["jobName"]]


def test_another_revision_replaces_a_job_that_runs(cluster, source, url):
    steps = [{"name": "wait", "command": ["sh", "-c", WAIT]}]
    cluster.apply(make_build("site", url, source.first, steps=steps))
    first = running(cluster, "site")
    (old,) = pods_of(cluster, "site")
    seen = {"jobs": {cluster.get("job", first["status"]["jobName"])["metadata"]["uid"]}, "alive": set()}
    second = source.push("two")
    cluster.apply(make_build("site", url, second, steps=steps))

    def replaced(status: Object) -> bool:
        alive = alive_pods(cluster)
        assert len(alive) <= 1, alive
        seen["alive"] |= alive
        seen["jobs"] |= {job["metadata"]["uid"] for job in cluster.list("jobs")}
        return [step["state"] for step in status.get("steps", [])] == ["Succeeded", "Running"]

    build = wait_for(cluster, "site", "the new Job", replaced)
    assert build["status"]["jobName"] != first["status"]["jobName"]
    assert build["status"]["revision"] == second
    assert [job["metadata"]["name"] for job in cluster.list("jobs")] == [build["status"]["jobName"]]
    assert len(seen["jobs"]) == 2
    assert old["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in pods_of(cluster, "site")}
    (entry,) = build["status"]["history"]
    assert (entry["jobName"], entry["phase"]) == (first["status"]["jobName"], "Replaced")
    reasons = [e["reason"] for e in events(cluster, "site")]
    assert reasons.count("Created") == 2 and "Deleted" in reasons
    cluster.run("exec", pod_of(cluster, build), "-c", "wait", "--", "touch", "told")
    assert finished(cluster, "site")["status"]["phase"] == "Successful"


def test_a_job_deleted_by_hand_is_made_again_when_its_pod_is_gone(cluster, url):
    cluster.apply(make_build("site", url, steps=[{"name": "wait", "command": ["sh", "-c", WAIT]}]))
    first = running(cluster, "site")
    (old,) = pods_of(cluster, "site")
    # As kubectl does it by default: the Job is gone at once, its Pod is not.
    cluster.run("delete", "job", first["status"]["jobName"], "--wait=false")

    def made_again(status: Object) -> bool:
        alive = alive_pods(cluster)
        assert len(alive) <= 1, alive
        states = [step["state"] for step in status["steps"]]
        return alive - {old["metadata"]["uid"]} and states == ["Succeeded", "Running"]

    build = wait_for(cluster, "site", "the Job made again", made_again)
    assert build["status"]["jobName"] == first["status"]["jobName"]
    cluster.run("exec", pod_of(cluster, build), "-c", "wait", "--", "touch", "told")
    assert finished(cluster, "site")["status"]["phase"] == "Successful"


def events(cluster: Cluster, name: str) -> list[Object]:
    return [
        e
        for e in cluster.list("events")
        if e["involvedObject"] == {**e["involvedObject"], "kind": "Build", "name": name}
    ]


def test_a_request_builds_the_newest_commit_of_the_same_spec_anew(cluster, source, url):
    cluster.apply(make_build("site", url))
    first = finished(cluster, "site")
    second = source.push("two")
    cluster.run("annotate", "build", "site", "build.taskflow/request=1")
    build = wait_for(
        cluster, "site", "the second commit", lambda s: s.get("revision") == second and s["phase"] in FINAL
    )
    assert build["status"]["phase"] == "Successful"
    assert build["status"]["history"][0]["revision"] == first["status"]["revision"]


def test_a_private_repository_opens_with_its_secret(cluster, source, private_url):
    cluster.apply(make_build("site", private_url, git_fields={"secretRef": {"name": "key"}}))
    waiting = wait_for(
        cluster, "site", "word of the Secret", lambda s: condition({"status": s})["reason"] == "SecretMissing"
    )
    assert 'Secret "key"' in condition(waiting)["message"]
    words = [
        "--type=kubernetes.io/basic-auth",
        f"--from-literal=username={USER}",
        f"--from-literal=password={PASSWORD}",
    ]
    cluster.run("create", "secret", "generic", "key", *words)
    build = finished(cluster, "site")
    assert (build["status"]["phase"], build["status"]["revision"]) == ("Successful", source.first)
    pod = pod_of(cluster, build)
    assert PASSWORD not in cluster.logs(pod, "clone") + cluster.run("get", "job,pod", "-o", "yaml").stdout


def test_a_key_opens_a_repository_over_ssh(cluster, source):
    with GitSshServer(source.folder.parent, facts().gateway) as server:
        secret = {"ssh-privatekey": server.client_key, "known_hosts": server.known_hosts}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": secret})
        cluster.apply(make_build("site", f"{server.url}/site", git_fields={"secretRef": {"name": "key"}}))
        build = finished(cluster, "site")
    assert (build["status"]["phase"], build["status"]["revision"]) == ("Successful", source.first)


@pytest.mark.parametrize(
    ("path", "revision", "words"),
    [
        ("/no-such", "main", "not found"),
        ("/site", "no-such-branch", "revision no-such-branch is not in the repository"),
    ],
    ids=["url", "revision"],
)
def test_a_source_that_is_not_there_is_said_with_gits_words(cluster, url, path, revision, words):
    cluster.apply(make_build("site", url.replace("/site", path), revision))
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "StepFailed")
    assert 'step "clone" (1 of 3) failed: exit code 1: ' in condition(build)["message"]
    assert words in condition(build)["message"]
    assert condition(build)["message"] in [e["message"] for e in events(cluster, "site") if e["reason"] == "Failed"]


def test_a_spec_that_can_not_work_is_said_with_its_field(cluster, url):
    cluster.apply(make_build("site", url, steps=[{"name": "clone", "command": ["true"]}]))
    build = finished(cluster, "site")
    assert condition(build)["message"].startswith("spec.steps[0].name: 'clone' is the name of another step")
    assert cluster.list("jobs") == []
    refused = cluster.run("apply", "-f", "-", stdin=yaml.dump(make_build("no", url, command=["x"])), check=False)
    assert refused.returncode != 0 and "spec.command" in refused.stderr


def test_a_suspended_build_has_no_job_until_it_goes_on(cluster, url):
    cluster.apply(make_build("site", url, suspend=True))
    wait_for(cluster, "site", "its rest", lambda s: condition({"status": s})["reason"] == "Suspended")
    assert cluster.list("jobs") == []
    cluster.patch("build", "site", {"spec": {"suspend": False}})
    assert finished(cluster, "site")["status"]["phase"] == "Successful"


def test_its_job_goes_when_its_time_to_live_has_passed_and_is_not_made_again(cluster, url):
    cluster.apply(make_build("site", url, ttlSecondsAfterFinished=1))
    build = finished(cluster, "site")
    cluster.wait("the Job to go", lambda: cluster.list("jobs") == [])
    cluster.wait("its Pods to go", lambda: pods_of(cluster, "site") == [])
    cluster.patch("build", "site", {"metadata": {"annotations": {"other": "x"}}})
    assert cluster.get("build", "site")["status"] == build["status"]
    assert cluster.list("jobs") == []


def test_a_build_that_fails_is_tried_again_as_often_as_it_says(cluster, url):
    cluster.apply(make_build("site", url, steps=[{"name": "bad", "command": ["sh", "-c", "exit 3"]}], backoffLimit=1))
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "StepFailed")
    assert 'step "bad" (2 of 2) failed: exit code 3' in condition(build)["message"]
    assert [pod["status"]["phase"] for pod in pods_of(cluster, "site")] == ["Failed", "Failed"]


def test_a_build_that_is_out_of_time_ends(cluster, url):
    steps = [{"name": "wait", "command": ["sleep", "600"]}]
    cluster.apply(make_build("site", url, steps=steps, activeDeadlineSeconds=8))
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "DeadlineExceeded")
    cluster.wait("nothing to run any more", lambda: not alive_pods(cluster))


def test_what_keeps_a_job_from_having_its_pod_is_told_and_it_runs_when_that_has_gone(cluster, url):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.apply(quota)
    cluster.wait("the quota", lambda: cluster.get("resourcequota", "none").get("status", {}).get("hard"))
    cluster.apply(make_build("site", url))
    refused = wait_for(cluster, "site", "the refusal", lambda s: condition({"status": s})["reason"] == "QuotaExceeded")
    assert refused["status"]["phase"] == "Pending"
    assert "exceeded quota: none" in condition(refused)["message"]
    assert "QuotaExceeded" in [e["reason"] for e in events(cluster, "site")]
    cluster.run("delete", "resourcequota", "none")
    assert finished(cluster, "site")["status"]["phase"] == "Successful"


def test_deleting_a_build_deletes_its_job_and_pods(cluster, url):
    cluster.apply(make_build("site", url, steps=[{"name": "wait", "command": ["sleep", "600"]}]))
    running(cluster, "site")
    cluster.run("delete", "build", "site")
    cluster.wait("its Job and Pods to go", lambda: not cluster.list("jobs") and not pods_of(cluster, "site"))


def test_the_example_builds_what_its_url_names(cluster, url):
    build = yaml.safe_load((ROOT / "examples" / "build_example.yaml").read_text())
    build["spec"]["source"]["git"]["url"] = url
    cluster.apply(build)
    done = finished(cluster, "example-build")
    assert done["status"]["phase"] == "Successful"
    assert f"building {done['status']['revision']}" in cluster.logs(pod_of(cluster, done), "build")
