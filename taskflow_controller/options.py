"""The values of the flags of ``run``."""

from dataclasses import dataclass

PROGRAM = "taskflow-controller"


@dataclass(frozen=True)
class Options:
    """The values of the flags of ``run``, which ``flags`` describes.

    Times are in seconds. An address is "" for none, and so is a text that is not given.
    """

    watches_file: str
    max_concurrent: int
    max_total: int | None
    reconcile_period: float
    run_timeout: float
    cold: bool
    runner_dir: str
    inject_owner_ref: bool
    ansible_verbosity: int
    ansible_args: str
    ansible_log_events: str
    ansible_roles_path: str
    ansible_collections_path: str
    health_address: str
    metrics_address: str
    user_metrics_address: str
    leader_elect: bool
    leader_election_id: str
    leader_election_namespace: str
    lease_duration: int
    renew_deadline: int
    graceful_shutdown_timeout: float
    kubeconfig: str
    log_level: str
