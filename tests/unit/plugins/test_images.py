"""Look-ups of images for one Task, and for many: what is asked when, and who waits for whom."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _images
from ansible_collections.taskflow.operator.plugins.module_utils._errors import NotYet, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._images import Images
from ansible_collections.taskflow.operator.plugins.module_utils._lookup import LookupSettings

SETTINGS = LookupSettings(mirrors={}, architecture="amd64")
FAILURE = TaskError("ImageLookupFailed", "no such image")


class Registries:
    """Takes the place of look_up. An image has its own name for its ENTRYPOINT."""

    def __init__(self):
        self.asked = []
        # Those of this registry are answered when it is set.
        self.slow = threading.Event()

    def look_up(self, cluster, namespace, account, secrets, *rest):
        images, settings = rest
        assert (cluster, settings) == ("cluster", SETTINGS)
        self.asked.append((namespace, account, *secrets, *images))
        if images[0].startswith("slow.example.com/"):
            assert self.slow.wait(60)
        if images[0].endswith("missing"):
            raise FAILURE
        return {image: ImageConfig((image,), ()) for image in images}


@pytest.fixture
def registries(monkeypatch):
    registries = Registries()
    monkeypatch.setattr(_images, "look_up", registries.look_up)
    yield registries
    registries.slow.set()


def ask(images, *names):
    return images.configs("team", "default", ["secret"], names)


def found(*names):
    return {name: ImageConfig((name,), ()) for name in names}


def test_for_one_task_the_answer_is_waited_for(registries):
    images = Images("cluster", lambda: SETTINGS, patient=True)
    assert ask(images, "a", "b") == found("a", "b")
    assert registries.asked == [("team", "default", "secret", "a", "b")]
    with pytest.raises(TaskError, match="no such image"):
        ask(images, "missing")


def test_for_many_it_is_asked_for_only_when_all_have_had_their_turn(registries):
    images = Images("cluster", lambda: SETTINGS, patient=False)
    for name in ("a", "missing"):
        with pytest.raises(NotYet, match=f"the registry of {name} takes its time"):
            ask(images, name)
    assert registries.asked == []
    images.wait()
    assert ask(images, "a") == found("a")
    with pytest.raises(TaskError) as raised:
        ask(images, "missing")
    assert raised.value is FAILURE


def test_the_same_question_is_asked_once(registries):
    images = Images("cluster", lambda: SETTINGS, patient=False)
    for _ in range(2):
        with pytest.raises(NotYet):
            ask(images, "a")
    with pytest.raises(NotYet):
        images.configs("other", "default", ["secret"], ["a"])
    images.wait()
    assert sorted(registries.asked) == [("other", "default", "secret", "a"), ("team", "default", "secret", "a")]


def test_a_slow_registry_keeps_neither_the_others_nor_the_batch(registries, monkeypatch):
    images = Images("cluster", lambda: SETTINGS, patient=False)
    names = ["slow.example.com/a", "fast.example.com/a", "fast.example.com/b", "no image: [", "slow.example.com/b"]
    for name in names:
        with pytest.raises(NotYet):
            ask(images, name)
    answered = threading.Event()
    answer = images._answer

    def note(requests):
        answer(requests)
        if "fast" in requests[0].images[0]:
            answered.set()

    monkeypatch.setattr(images, "_answer", note)
    monkeypatch.setattr(_images, "PATIENCE", 0.05)
    images.wait()
    assert not registries.slow.is_set()
    assert answered.wait(60)
    assert ask(images, "fast.example.com/b") == found("fast.example.com/b")
    with pytest.raises(NotYet):
        ask(images, "slow.example.com/a")
    # Those of one registry come one after the other: who is the first to ask it finds out for all.
    assert ("team", "default", "secret", "slow.example.com/b") not in registries.asked


def test_nothing_is_asked_where_every_image_has_a_command(registries):
    for patient in (True, False):
        assert ask(Images("cluster", lambda: SETTINGS, patient)) == {}
    assert registries.asked == []
