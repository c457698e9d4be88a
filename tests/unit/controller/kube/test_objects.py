"""Changes of objects: never over another's change, again when the API server fails, none of what is gone."""

import datetime
import json

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException
from support.api.object_server import KEY, PATH, WIDGET, ObjectServer

from taskflow_controller.kube import objects
from taskflow_controller.kube.api import MERGE_PATCH, ApiResource, KindNotServedError, object_path
from taskflow_controller.kube.kinds import GroupVersionKind, Object
from taskflow_controller.kube.objects import Objects, Patch, Patience
from taskflow_controller.reconcile.status_writer import StatusWriter
from taskflow_controller.reconcile.verdicts import Verdict

FIVE_SECONDS = Patience(5)
NO_ANSWER = urllib3.exceptions.ProtocolError("cut")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    monkeypatch.setattr(objects, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(objects, "_SLICE", 0.001)
    return ObjectServer()


def mark(obj: Object) -> Patch | None:
    """A change that keeps count of the versions that it has seen."""
    metadata = obj["metadata"]
    if obj["status"].get("seen"):
        return None
    return Patch({"metadata": metadata, "status": {"seen": metadata["resourceVersion"]}}, MERGE_PATCH, status=True)


def change(api: ObjectServer, patience: Patience = FIVE_SECONDS) -> Object | None:
    return Objects(api).change(WIDGET, api.get(PATH), mark, patience)  # type: ignore[arg-type]


def test_changes_the_status_apart_or_with_the_object(api: ObjectServer) -> None:
    assert change(api) == api.object and api.object["status"] == {"mine": 1, "seen": "1"}
    assert [path for path, _ in api.patches] == [f"{PATH}/status"]
    assert change(api) == api.object
    assert len(api.patches) == 1, "nothing to do: no request"
    other = ObjectServer()
    other.has_status = False
    assert change(other) and [path for path, _ in other.patches] == [PATH]


def test_what_another_changed_stays(api: ObjectServer) -> None:
    api.refusals = [api.touch, api.touch]
    assert change(api) and api.object["status"]["seen"] == "3"


def test_conflicts_without_end_are_an_error(api: ObjectServer) -> None:
    api.refusals = [api.touch] * 100
    with pytest.raises(ApiException) as caught:
        change(api)
    assert caught.value.status == 409 and len(api.patches) < 50


def test_gone(api: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    api.refusals = [api.disappear]
    assert change(api) is None
    other = ObjectServer()
    other.refusals = [lambda: other.touch(uid="u2")]
    assert change(other) is None and "seen" not in other.object["status"], "another one of the same name"

    def not_served(gvk: GroupVersionKind) -> ApiResource:
        raise KindNotServedError(gvk)

    monkeypatch.setattr(other, "resource", not_served)
    assert change(other) is None
    assert Objects(other).read(WIDGET, other.object) is None  # type: ignore[arg-type]


def test_a_kind_that_lost_its_status_resource(api: ObjectServer) -> None:
    def lose() -> None:
        api.has_status = False

    api.refusals = [lose]
    assert change(api) and [path for path, _ in api.patches] == [f"{PATH}/status", PATH]


@pytest.mark.parametrize("status", [0, 429, 500, 503, 504])
def test_a_passing_failure_is_waited_out(api: ObjectServer, status: int) -> None:
    api.refusals = [ApiException(status=status), NO_ANSWER, ApiException(status=status)]
    assert change(api) and len(api.patches) == 4


def test_no_answer_for_long_is_an_error(api: ObjectServer) -> None:
    api.refusals = [NO_ANSWER] * 1000
    with pytest.raises(urllib3.exceptions.HTTPError):
        change(api, Patience(0.05))
    assert len(api.patches) > 1
    api.patches.clear()
    with pytest.raises(urllib3.exceptions.HTTPError):
        change(api, Patience(0))
    assert len(api.patches) == 1
    api.patches.clear()
    with pytest.raises(urllib3.exceptions.HTTPError):
        change(api, Patience(60, hurry=lambda: True))
    assert len(api.patches) == 1


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_is_not_repeated(api: ObjectServer, status: int) -> None:
    api.refusals = [ApiException(status=status)] * 9
    with pytest.raises(ApiException):
        change(api)
    assert len(api.patches) == 1


def test_a_patch_out_of_date_is_made_again(api: ObjectServer) -> None:
    """The test of a JSON patch fails with the same code as a patch that is never taken."""

    def outdated() -> None:
        api.touch()
        raise ApiException(status=422)

    api.refusals = [outdated]
    assert change(api) and api.object["status"]["seen"] == "2"


def test_names_are_quoted() -> None:
    role = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")
    path = object_path(role, ApiResource("clusterroles", False), "", "system:a/b")
    assert path == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%2Fb"


ENDING = (Verdict(False, "disk full"), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))


def writer(api: ObjectServer) -> StatusWriter:
    return StatusWriter(Objects(api), lambda: False)  # type: ignore[arg-type]


def test_status_of_a_run(api: ObjectServer) -> None:
    running = writer(api).started(KEY, api.get(PATH))
    assert running == api.object and api.object["status"]["conditions"][0]["reason"] == "Running"
    assert writer(api).started(KEY, api.get(PATH)) == api.object
    assert len(api.patches) == 1, "nothing to write, no request"
    assert writer(api).ended(KEY, running, *ENDING)
    assert api.object["status"]["mine"] == 1
    kinds = {entry["type"]: entry["status"] for entry in api.object["status"]["conditions"]}
    assert kinds == {"Running": "False", "Failure": "True", "Successful": "False"}


def test_status_of_what_is_gone(api: ObjectServer) -> None:
    api.refusals = [api.disappear]
    assert writer(api).started(KEY, api.object) is None
    assert writer(api).ended(KEY, api.object, *ENDING)


def test_a_start_that_cannot_be_written_keeps_nobody_from_running(
    api: ObjectServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.refusals = [NO_ANSWER] * 9
    assert writer(api).started(KEY, api.object) is api.object
    assert len(api.patches) == 1 and "cannot write to the status that a run begins" in caplog.text


def test_a_verdict_that_cannot_be_written_is_logged(
    api: ObjectServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("taskflow_controller.reconcile.status_writer.ENDING_PATIENCE", 0)
    api.refusals = [NO_ANSWER]
    assert writer(api).ended(KEY, api.object, *ENDING) is False
    assert caplog.records[-1].verdict == "failure: disk full" and caplog.records[-1].resource == "Widget ns/w"
    body = json.dumps({"message": "widgets/status is forbidden"})
    forbidden = ApiException(status=403)
    forbidden.body = body
    api.refusals = [forbidden]
    assert writer(api).ended(KEY, api.object, *ENDING) is True, "another run would be refused as well"
    assert "forbidden" in caplog.records[-1].getMessage()


def test_a_kind_that_keeps_no_conditions_is_told_once(api: ObjectServer, caplog: pytest.LogCaptureFixture) -> None:
    api.keeps_status = False
    one = writer(api)
    for _ in range(3):
        assert one.ended(KEY, api.get(PATH), *ENDING)
    assert caplog.text.count("Widget (example.com/v1) keeps no conditions in its status") == 1
