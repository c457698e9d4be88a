"""Builds the parts of a controller's process from its options and its environment."""

import logging
import os
from collections.abc import Mapping

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch, load_watches
from taskflow_controller.errors import ConfigError
from taskflow_controller.flags import boolean
from taskflow_controller.kube.api import ApiServer, connect
from taskflow_controller.kube.leader import LeaderElector, Timing, default_namespace
from taskflow_controller.kube.objects import Objects
from taskflow_controller.options import Options
from taskflow_controller.process import Parts, Process, Stopping
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.reconcile.dependent_finalizers import DependentFinalizers
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.runs.launcher import Launcher
from taskflow_controller.runs.runner import AnsibleRunner
from taskflow_controller.runs.warm.starter import WarmStarter
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.serve.health import Check, health_endpoint
from taskflow_controller.serve.http_endpoint import HttpEndpoint
from taskflow_controller.serve.metrics import Metrics, metrics_endpoint
from taskflow_controller.serve.user_metrics import user_metrics_endpoint

logger = logging.getLogger(__name__)


def compose(options: Options, environ: Mapping[str, str]) -> Process:
    """Return a process that is ready to run; its ports are bound.

    Args:
        options: the values of the flags.
        environ: the environment of this process.

    Raises:
        ConfigError: something in the options, the watches file or the environment can't be used.
    """
    loaded = load_watches(options.watches_file, environ)
    for warning in loaded.warnings:
        logger.warning(warning)
    watches = loaded.watches
    api = ApiServer(connect(options.kubeconfig or None))
    limits = Limits(options.max_concurrent, options.max_total)
    metrics = Metrics({watch.gvk: limits.for_watch(watch) for watch in watches})
    elector = _elector(options, api) if options.leader_elect else None
    stopping = Stopping(elector)
    overrides = Overrides(Defaults(options.reconcile_period, options.ansible_verbosity, options.run_timeout))
    workspaces = Workspaces(options.runner_dir)
    direct = _kubeconfig_environment(options.kubeconfig)
    warm = None if options.cold else WarmStarter(_commands(watches), direct)
    proxy = ApiProxy(api.client) if any(watch.api_proxy for watch in watches) else None
    launcher = Launcher(
        AnsibleRunner(warm),
        workspaces,
        overrides,
        arguments=options.ansible_args,
        log_events=options.ansible_log_events,
        log_output=ansible_debug_logs(environ),
        environment=direct,
        proxy=proxy,
        cancelled=stopping.at_once,
    )
    objects = Objects(api)
    reconciler = Reconciler(launcher, objects, overrides, cancelled=stopping.at_once, metrics=metrics)
    finalizers = DependentFinalizers(objects)
    namespaces = watched_namespaces(environ)
    controller = Controller(api, watches, reconciler, limits, namespaces, finalizers=finalizers, metrics=metrics)
    return Process(
        options,
        Parts(
            controller=controller,
            metrics=metrics,
            workspaces=workspaces,
            endpoints=tuple(_endpoints(options, controller, metrics, proxy, warm)),
            proxy=proxy,
            warm=warm,
            elector=elector,
        ),
        stopping,
    )


def _elector(options: Options, api: ApiServer) -> LeaderElector:
    namespace = options.leader_election_namespace or default_namespace()
    timing = Timing(options.lease_duration, options.renew_deadline)
    return LeaderElector(api.client, options.leader_election_id, namespace, timing)


def _kubeconfig_environment(kubeconfig: str) -> dict[str, str]:
    """Return the environment by which runs reach the API server directly."""
    return dict.fromkeys(("KUBECONFIG", "K8S_AUTH_KUBECONFIG"), os.path.abspath(kubeconfig)) if kubeconfig else {}


def _commands(watches: tuple[Watch, ...]) -> list[Command]:
    return [command for watch in watches for command in watch.commands()]


def _endpoints(
    options: Options, controller: Controller, metrics: Metrics, proxy: ApiProxy | None, warm: WarmStarter | None
) -> list[HttpEndpoint]:
    endpoints = []
    if options.health_address:
        endpoints.append(health_endpoint(options.health_address, _checks(controller, proxy, warm)))
    if options.metrics_address:
        endpoints.append(metrics_endpoint(options.metrics_address, metrics))
    try:
        if options.user_metrics_address:
            endpoints.append(user_metrics_endpoint(options.user_metrics_address, metrics.registry))
    except ConfigError as exc:
        # Start nevertheless: the osdk_metric module dictates the port, and another controller may have it.
        logger.warning("metrics of playbooks are not taken: %s", exc)
    return endpoints


def _checks(controller: Controller, proxy: ApiProxy | None, warm: WarmStarter | None) -> dict[str, dict[str, Check]]:
    """Return the checks of each path. An API server that can't be reached only makes this replica unready."""
    return {
        "/healthz": {
            "threads": controller.thread_problem,
            **({"api-proxy": proxy.problem} if proxy else {}),
        },
        "/readyz": {
            "informers": controller.informer_problem,
            "watches": controller.watch_problem,
            **({"fork-servers": warm.problem} if warm else {}),
        },
    }


def watched_namespaces(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the namespaces in ``WATCH_NAMESPACE``, which are separated by commas; empty for all."""
    names = (name.strip() for name in environ.get("WATCH_NAMESPACE", "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def ansible_debug_logs(environ: Mapping[str, str]) -> bool:
    """Return whether ``ANSIBLE_DEBUG_LOGS`` asks to log everything that Ansible prints. Log a value that is invalid."""
    text = environ.get("ANSIBLE_DEBUG_LOGS", "")
    try:
        return bool(text) and boolean(text)
    except ValueError as exc:
        logger.warning("ANSIBLE_DEBUG_LOGS is ignored: %s", exc)
        return False
