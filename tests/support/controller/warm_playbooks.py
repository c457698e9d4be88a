"""Playbooks that are to come to the same cold and warm. ``warm_files`` has the project that they are part of."""

HEAD = """
- hosts: localhost
  gather_facts: false
  tasks:
"""

# Name: (tasks, status).
TASKS: dict[str, tuple[str, str]] = {
    "ok": ("    - ansible.builtin.ping: {data: '{{ given.name }}'}", "successful"),
    "changed": ("    - ansible.builtin.command: echo {{ given.name }}", "successful"),
    "failed": ("    - {name: Fails, ansible.builtin.fail: {msg: 'no {{ given.name }}'}}", "failed"),
    "failed module": ("    - ansible.builtin.command: 'false'", "failed"),
    "bad argument": ("    - ansible.builtin.ping: {nonsense: 1}", "failed"),
    "undefined variable": ("    - ansible.builtin.debug: {msg: '{{ not_there.at_all }}'}", "failed"),
    "rescued": (
        """
    - block:
        - ansible.builtin.command: 'false'
      rescue:
        - ansible.builtin.debug: {msg: '{{ ansible_failed_result.rc }} {{ ansible_failed_task.action }}'}
      always:
        - ansible.builtin.command: 'true'
""",
        "successful",
    ),
    "ignored": ("    - {ansible.builtin.command: 'false', ignore_errors: true}", "successful"),
    "parse error": ("    - no.such.module: {}", "failed"),
    "not YAML": ("    - {: [", "failed"),
    "loop": (
        """
    - ansible.builtin.ping: {data: '{{ item }}'}
      loop: [a, b, crash]
      loop_control: {label: 'item {{ item }}'}
      ignore_errors: true
    - ansible.builtin.debug: {msg: '{{ item.key }}={{ item.value }}'}
      with_dict: {one: 1, two: 2}
    - ansible.builtin.command: 'false'
      register: tried
      until: tried.rc == 0
      retries: 2
      delay: 0
      ignore_errors: true
""",
        "successful",
    ),
    "no_log": (
        """
    - ansible.builtin.command: echo hidden-word
      no_log: true
      register: said
    - ansible.builtin.assert: {that: said.stdout == 'hidden-word'}
    - {name: Hidden, ansible.builtin.fail: {msg: hidden-word}, no_log: true}
""",
        "failed",
    ),
    "facts and register": (
        """
    - ansible.builtin.set_fact: {shade: '{{ given.name | upper }}', cacheable: true}
    - ansible.builtin.command: echo '{{ shade }}'
      register: said
    - ansible.builtin.debug: {var: said.stdout_lines}
    - ansible.builtin.assert: {that: ["shade == 'N'", "said is changed"]}
""",
        "successful",
    ),
    "gathered facts": (
        """
    - ansible.builtin.setup: {gather_subset: [min]}
      no_log: true
    - ansible.builtin.debug: {msg: '{{ ansible_facts.python.executable }} {{ ansible_facts.pkg_mgr }}'}
""",
        "successful",
    ),
    "check mode and diff": (
        """
    - ansible.builtin.copy: {content: text, dest: '/tmp/never-made-{{ given.name }}', mode: '0600'}
      check_mode: true
      diff: true
    - ansible.builtin.command: 'true'
      check_mode: true
""",
        "successful",
    ),
    "delegated": (
        """
    - ansible.builtin.command: echo here
      delegate_to: localhost
    - ansible.builtin.ping: {}
      delegate_to: 127.0.0.1
      vars: {ansible_connection: local}
""",
        "successful",
    ),
    "environment": (
        """
    - ansible.builtin.shell: echo "$COLOUR $KUBECONFIG $LATER"
      environment: {COLOUR: 'deep blue', LATER: '{{ given.name }}'}
    - ansible.builtin.command: "{{ ansible_playbook_python }} -c 'import os; print(os.environ.get(\\"COLOUR\\"))'"
    - ansible.builtin.debug: {msg: "{{ lookup('env', 'FROM_REQUEST') }}"}
""",
        "successful",
    ),
    "tags": (
        """
    - {ansible.builtin.debug: {msg: never}, tags: [never]}
    - {ansible.builtin.debug: {msg: always}, tags: [always]}
    - {ansible.builtin.debug: {msg: '{{ ansible_run_tags }}'}}
""",
        "successful",
    ),
    "end_play": ("    - ansible.builtin.meta: end_play\n    - ansible.builtin.fail: {}", "successful"),
    "async": ("    - {ansible.builtin.command: sleep 0.2, async: 60, poll: 5}", "successful"),  # done by the first look
    "task timeout": ("    - {ansible.builtin.command: sleep 67.5, timeout: 1}", "failed"),
    "become that fails": (
        "    - {ansible.builtin.command: 'true', become: true, become_user: nobody, become_method: sudo}",
        "failed",
    ),
    "become": (
        """
    - ansible.builtin.command: id -un
      become: true
      become_method: ansible.builtin.su
      become_user: root
      register: who
    - ansible.builtin.assert: {that: who.stdout == 'root'}
""",
        "successful",
    ),
    "include_role": (
        """
    - ansible.builtin.include_role: {name: greeting}
      vars: {word: included}
    - ansible.builtin.import_role: {name: greeting}
      vars: {word: imported}
    - ansible.builtin.include_role: {name: greeting, tasks_from: other}
      loop: [1, 2]
    - ansible.builtin.include_tasks: more.yml
    - ansible.builtin.import_tasks: more.yml
""",
        "successful",
    ),
    "argument_specs": (
        """
    - ansible.builtin.include_role: {name: specified}
      vars: {number: many}
""",
        "failed",
    ),
    "requeue_after": (
        """
    - ansible.builtin.set_fact: {unrelated: 1}
    - again: {period: 1m30s}
    - again: {period: 40s}
""",
        "successful",
    ),
    "killed module": (
        """
    - {ends: {how: exit}, register: first, ignore_errors: true}
    - {ends: {how: kill}, register: second, ignore_errors: true}
    - {ends: {how: exit}, loop: [1, 2], ignore_errors: true}
    - ansible.builtin.assert: {that: [first.rc == 3, second.rc == 137, first.module_stdout == 'partial']}
    - {name: Broken, ends: {how: exit}}
""",
        "failed",
    ),
    "raising module": ("    - {ends: {how: raise}, ignore_errors: true}\n    - {ends: {how: return}}", "failed"),
    "warning module": ("    - {ends: {how: warn}}", "successful"),
    "module that wants another Python": (
        "    - wants:\n    - ansible.builtin.package_facts:\n      no_log: true",
        "successful",
    ),
    "shell module": (
        "    - in_shell: {word: said}\n      register: r\n    - assert: {that: r.echo == 'said'}",
        "successful",
    ),
    "old-style module": ("    - old_style: {word: said}", "successful"),
    "module with utils": ("    - uses_utils: {}", "successful"),
    "templates": (
        """
    - ansible.builtin.template: {src: text.j2, dest: '{{ playbook_dir }}/made-of-template', mode: '0600'}
    - ansible.builtin.slurp: {src: '{{ playbook_dir }}/made-of-template'}
    - ansible.builtin.file: {path: '{{ playbook_dir }}/made-of-template', state: absent}
    - ansible.builtin.stat: {path: '{{ playbook_dir }}/made-of-template'}
    - ansible.builtin.debug: {msg: '{{ given.name | shouted }} {{ 4 is tiny }}'}
    - ansible.builtin.debug: {msg: "{{ lookup('said') }}"}
""",
        "successful",
    ),
    "action plugin": ("    - acting: {word: x}\n    - ansible.builtin.debug: {msg: x}", "successful"),
    "tasks on variables alone": (
        """
    - ansible.builtin.set_fact: {list: [0], wide: "{{ 'x' * 300000 }}"}
    - set_fact: {list: '{{ list + [item] }}', shade: '{{ item }}'}
      loop: [1, 2, 3]
    - ansible.builtin.assert: {that: ['list == [0, 1, 2, 3]', 'shade == 3', 'wide | length == 300000'], quiet: true}
    - {name: Wide, ansible.builtin.debug: {var: wide}, no_log: true}
    - ansible.builtin.debug: {msg: '{{ item.no_such_field }}'}
      loop: [{}, {no_such_field: 1}]
      ignore_errors: true
    - ansible.builtin.assert: {that: [1 == 2], fail_msg: 'not {{ given.name }}'}
      register: failed
      failed_when: false
    - ansible.builtin.include_tasks: '{{ item }}.yml'
      loop: [more, nowhere]
      ignore_errors: true
    - {ansible.builtin.debug: {msg: '{{ failed.assertion }}'}, when: failed is not skipped, changed_when: true}
    - ansible.builtin.set_fact: {there: '{{ ansible_connection }}'}
      delegate_to: elsewhere
      delegate_facts: true
      vars: {ansible_connection: local}
    - {name: No more, ansible.builtin.fail: {msg: '{{ hostvars.elsewhere.there }}'}}
""",
        "failed",
    ),
    "lookup that ends its process": ("    - ansible.builtin.debug: {msg: \"{{ lookup('ends', 0) }}\"}", "failed"),
    "temporary directory": (
        "    - transferring:\n    - {transferring: , become: true, become_method: su}",
        "successful",
    ),
    "unsafe text": ("    - ansible.builtin.debug: {msg: '{{ braces }}'}", "successful"),
    "python of another": (
        "    - {ansible.builtin.ping: , vars: {ansible_python_interpreter: /usr/bin/env python3}, ignore_errors: true}",
        "successful",
    ),
}

WHOLE: dict[str, tuple[str, str]] = {
    "handlers": (
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - {ansible.builtin.command: 'true', notify: [one, several]}
    - ansible.builtin.meta: flush_handlers
    - {ansible.builtin.command: 'true', notify: one}
  handlers:
    - {name: one, ansible.builtin.debug: {msg: one}}
    - {name: other, listen: several, ansible.builtin.command: 'true'}
""",
        "successful",
    ),
    "roles and vars": (
        """
- hosts: localhost
  gather_facts: false
  vars: {from_play: 1}
  vars_files: [some_vars.yml]
  pre_tasks: [{ansible.builtin.debug: {msg: '{{ from_file }}'}}]
  roles: [{role: greeting, word: '{{ from_play }}'}]
  post_tasks: [{ansible.builtin.debug: {msg: '{{ from_group }}'}}]
""",
        "successful",
    ),
    "two plays": (
        """
- import_playbook: "{{ 'first' if given.name == 'n' else 'none' }}_play.yml"
- hosts: localhost
  gather_facts: false
  module_defaults: {ansible.builtin.ping: {data: default}}
  tasks: [ansible.builtin.ping: ]
""",
        "successful",
    ),
    "static import by a variable": (
        """
- hosts: localhost
  gather_facts: false
  tasks: [{ansible.builtin.import_tasks: "{{ 'more' if given is defined else 'none' }}.yml"}]
""",
        "successful",
    ),
    "unreachable": (
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.ping: {}
      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_ssh_executable: '{{ playbook_dir }}/no_ssh'}
""",
        "failed",
    ),
    "several hosts": (
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - {ansible.builtin.add_host: {name: 'h{{ item }}', ansible_connection: local, nr: '{{ item }}'}, loop: [1, 2, 3]}
- hosts: h*
  serial: 1
  gather_facts: false
  vars: {ansible_python_interpreter: '{{ ansible_playbook_python }}'}
  tasks:
    - ansible.builtin.command: test {{ nr }} != 2
- hosts: h1:h3
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {own: '{{ nr }}'}
    - {ansible.builtin.debug: {msg: '{{ item }} of {{ own }}'}, loop: [1, 2], loop_control: {label: '{{ own }}'}}
    - {ansible.builtin.assert: {that: own == nr}, name: 'It is {{ own }}'}
""",
        "failed",
    ),
    "facts by default": (
        """
- hosts: localhost
  gather_subset: [min]
  tasks: [{ansible.builtin.debug: {msg: '{{ ansible_facts.os_family }}'}}]
""",
        "successful",
    ),
    "no hosts": ("- {hosts: nobody, gather_facts: false, tasks: [ansible.builtin.ping: ]}", "successful"),
    "empty": ("[]", "failed"),
    "strategy free": (
        "- {hosts: localhost, strategy: free, gather_facts: false, tasks: [ansible.builtin.ping: , {fail: {msg: x}}]}",
        "failed",
    ),
}
