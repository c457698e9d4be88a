"""Runs playbooks without a new start of Ansible for each.

A fork server has imported Ansible and rehearsed a run. For each run it forks a child that can work as
``ansible-playbook`` at once. This relies on private parts of ansible-core and ansible-runner, which only this folder
uses; ``versions`` has the versions that it is known to work with.

    controller                                fork server (one per playbook folder and settings)
      WarmStarter ── servers ── process ═══▶  server/main ─ fork ──▶ keeper ── fork ──▶ child
      (starter.py)                            (warmup.py first)     (kills what       (child.py; its modules
                                                                     the run leaves)   run by modules.py)
"""
