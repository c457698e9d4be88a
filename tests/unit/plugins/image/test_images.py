"""Look-ups of images for one Task, and for many: what is asked when, and for whom."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import Postponed, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import batch as _images
from ansible_collections.taskflow.operator.plugins.module_utils._image.batch import Images
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import Endpoints, ImageCache
from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import LookupSettings, is_quick
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig

FAILURE = TaskError("ImageLookupFailed", "no such image")
DIGEST = "sha256:" + "a" * 64


class Registries:
    """Takes the place of look_up. An image has its own name for its ENTRYPOINT; that of ``missing`` can't be read."""

    def __init__(self):
        self.asked = []

    def look_up(self, cluster, namespace, account, secrets, *rest):
        (images, _), self.asked = rest, [*self.asked, (cluster, namespace, account, *secrets, *rest[0])]
        if images[0].endswith("missing"):
            raise FAILURE
        return {image: ImageConfig((image,), ()) for image in images}


@pytest.fixture
def registries(monkeypatch):
    registries = Registries()
    monkeypatch.setattr(_images, "look_up", registries.look_up)
    return registries


@pytest.fixture
def settings(tmp_path):
    """Settings whose cache knows that the registry quick.example.com answers, and that resting.example.com does not."""
    endpoints = Endpoints(str(tmp_path))
    endpoints.answered("https://quick.example.com")
    endpoints.timed_out("https://resting.example.com", "no answer")
    mirrors = {"mirrored.example.com": ["https://resting.example.com", "https://quick.example.com"]}
    return LookupSettings(mirrors=mirrors, architecture="amd64", cache_dir=str(tmp_path))


def ask(images, *names):
    return images.configs("team", "default", ["secret"], names)


def found(*names):
    return {name: ImageConfig((name,), ()) for name in names}


def test_for_one_task_it_is_asked_at_once(registries, settings):
    images = Images("cluster", lambda: settings, for_many=False)
    assert ask(images, "a", "b") == found("a", "b")
    assert registries.asked == [("cluster", "team", "default", "secret", "a", "b")]
    with pytest.raises(TaskError, match="no such image"):
        ask(images, "missing")


def test_for_many_it_is_asked_after_the_other_tasks_are_done(registries, settings):
    images = Images("cluster", lambda: settings, for_many=True)
    for name in ("quick.example.com/a", "quick.example.com/missing"):
        with pytest.raises(Postponed) as raised:
            ask(images, name)
        assert (raised.value.reason, raised.value.alone) == ("ImageLookupPending", False)
    assert registries.asked == []
    images.others_are_done()
    assert ask(images, "quick.example.com/a") == found("quick.example.com/a")
    with pytest.raises(TaskError) as raised:
        ask(images, "quick.example.com/missing")
    assert raised.value is FAILURE


def test_a_registry_that_may_take_its_time_is_asked_for_its_task_alone(registries, settings):
    images = Images("cluster", lambda: settings, for_many=True)
    images.others_are_done()
    with pytest.raises(Postponed, match=r"the registry of a, new\.example\.com/b has not answered lately") as raised:
        ask(images, "a", "new.example.com/b")
    assert raised.value.alone
    assert registries.asked == []


def test_the_same_question_of_many_is_asked_once(registries, settings):
    images = Images("cluster", lambda: settings, for_many=True)
    images.others_are_done()
    name = "quick.example.com/a"
    for _ in range(3):
        assert ask(images, name) == found(name)
        with pytest.raises(TaskError, match="no such image"):
            ask(images, "quick.example.com/missing")
    # Another Pod may have other pull secrets.
    images.configs("other", "default", ["secret"], [name])
    images.configs("team", "builder", ["secret"], [name])
    images.configs("team", "default", [], [name])
    assert len(registries.asked) == 5


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("quick.example.com/a:1", True),
        ("new.example.com/a:1", False),
        ("resting.example.com/a:1", True),  # it is not asked now
        ("mirrored.example.com/a:1", True),  # by the mirror that is not resting
        (f"new.example.com/known@{DIGEST}", True),
        (f"new.example.com/unknown@{DIGEST[:-1]}b", False),
        ("no name: [", True),
    ],
)
def test_what_is_quick(settings, image, expected):
    ImageCache(settings.cache_dir).put(DIGEST, "amd64", ImageConfig(("run",), ()))
    assert is_quick([image], settings) is expected
    assert is_quick(["quick.example.com/b", image], settings) is expected


def test_nothing_is_asked_where_every_image_has_a_command(registries):
    for for_many in (True, False):
        assert ask(Images("cluster", lambda: pytest.fail("not needed"), for_many)) == {}
    assert registries.asked == []
