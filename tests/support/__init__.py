"""What the tests share: kubectl and Tasks to use it on, what is known of the cluster, and its nodes."""

from __future__ import annotations

from .kubectl import (
    FINAL,
    OPERATOR_NAMESPACE,
    ROOT,
    SHOW_ARGUMENTS,
    WAIT,
    Cluster,
    Object,
    OrderWatch,
    PodWatch,
    alive_at_once,
    condition,
    decoded,
    ended_container,
    example,
    make_task,
    run_module,
    shell,
    step_states,
    waiter,
)

__all__ = [
    "FINAL",
    "OPERATOR_NAMESPACE",
    "ROOT",
    "SHOW_ARGUMENTS",
    "WAIT",
    "Cluster",
    "Object",
    "OrderWatch",
    "PodWatch",
    "alive_at_once",
    "condition",
    "decoded",
    "ended_container",
    "example",
    "make_task",
    "run_module",
    "shell",
    "step_states",
    "waiter",
]
