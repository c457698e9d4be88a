"""What Prometheus reads from a controller that works on a real API server, and what playbooks add to it."""

from collections.abc import Callable

from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, free_port, until

Start = Callable[..., Controller]

# What the module operator_sdk.util.osdk_metric sends: all of a type's options, null where they are not given.
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Count
      ansible.builtin.uri:
        url: "http://localhost:{{ port }}/metrics"
        method: POST
        body_format: json
        body: {name: backups_made, description: Backups, counter: {increment: true, add: null}}
    - name: Ask for what can't be
      ansible.builtin.uri:
        url: "http://localhost:{{ port }}/metrics"
        method: POST
        body_format: json
        body: {name: workqueue_depth, description: x, gauge: {set: 1}}
        return_content: true
      register: answer
      failed_when: answer.status != 400 or 'already in use' not in answer.content
    - name: Fail until repaired
      ansible.builtin.fail: {msg: broken}
      when: broken | default(false)
"""


def test_metrics_of_resources_and_runs(start: Start, crd: Crd, namespace: str) -> None:
    port = free_port()
    controller = start(f"--user-metrics-bind-address=127.0.0.1:{port}", "--max-concurrent-reconciles=3")
    (controller.project / "play.yml").write_text(PLAY)
    controller.ready()
    kind = f'controller="{crd.kind.lower()}-controller"'
    gvk = f'GVK="{GROUP}/{VERSION}, Kind={crd.kind}"'
    queue = f'{{{kind},name="{crd.kind.lower()}-controller"}}'

    def value(series: str) -> float | None:
        return controller.metrics().get(series)

    assert value(f"controller_runtime_max_concurrent_reconciles{{{kind}}}") == 3
    crd.create(namespace, "good", port=port)
    until(lambda: value(f'controller_runtime_reconcile_total{{{kind},result="requeue_after"}}') == 1)
    assert value(f'ansible_operator_reconcile_result{{{gvk},result="succeeded"}}') == 1
    assert value(f"ansible_operator_reconciles_count{{{gvk}}}") == 1
    assert (value(f"ansible_operator_reconciles_sum{{{gvk}}}") or 0) > 0.1, "the whole run"
    assert value(f"workqueue_adds_total{queue}") == 1
    assert value("backups_made{}") == 1
    assert value('leader_election_master_status{name="taskflow-controller"}') is None, "no election, no leader"

    crd.create(namespace, "bad", port=port, broken=True)
    until(lambda: (value(f"controller_runtime_reconcile_errors_total{{{kind}}}") or 0) >= 2)
    assert (value(f'ansible_operator_reconcile_result{{{gvk},result="failed"}}') or 0) >= 2
    assert (value(f"workqueue_retries_total{queue}") or 0) >= 2

    def created(name: str) -> str:
        where = f'group="{GROUP}",kind="{crd.kind}",name="{name}",namespace="{namespace}",version="{VERSION}"'
        return f"resource_created_at_seconds{{{where}}}"

    assert (value(created("bad")) or 0) > 1_700_000_000
    crd.delete(namespace, "bad")
    until(lambda: value(created("bad")) is None, what="the series' end")
    assert value(created("good"))
    until(lambda: value(f"controller_runtime_active_workers{{{kind}}}") == 0)
    assert value(f"workqueue_depth{queue}") == 0


def test_port_of_user_metrics_is_taken(start: Start, crd: Crd, namespace: str) -> None:
    """That keeps nobody from working: two controllers may share a machine."""
    flag = f"--user-metrics-bind-address=127.0.0.1:{free_port()}"
    start(flag).ready()
    second = start(flag).ready()
    (warning,) = second.logged("metrics of playbooks are not taken")
    assert "Address already in use" in warning["msg"]


def test_failing_watch_shows(start: Start, new_crd: Crd, namespace: str) -> None:
    controller = start()
    where = f'{{group="{GROUP}",kind="{new_crd.kind}",namespace="{namespace}",version="{VERSION}"}}'
    until(lambda: controller.probe("/healthz"), what="an answer")
    until(lambda: controller.metrics().get(f"taskflow_controller_watch_failing{where}") == 1, what="the failing watch")
    new_crd.install()
    until(lambda: controller.metrics()[f"taskflow_controller_watch_failing{where}"] == 0, what="its recovery")
