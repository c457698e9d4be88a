"""Runs playbooks without starting Ansible afresh for each.

A fork server has imported Ansible and rehearsed; for each run it forks a child that is an ``ansible-playbook``
at once. What this relies on is private to ansible-core and ansible-runner, and is in this folder alone; see
``versions`` for those it is known to work with.

    controller                                fork server (one per playbook folder and settings)
      WarmStarter ── servers ── process ═══▶  server/main ─ fork ──▶ keeper ── fork ──▶ child
      (starter.py)                            (warmup.py first)     (kills what       (child.py; its modules
                                                                     the run leaves)   run by modules.py)
"""
