"""The modules, plugins and roles of the project that the compared playbooks are part of."""

ENDS = """#!/usr/bin/python
import os, signal, sys
from ansible.module_utils.basic import AnsibleModule
def main():
    module = AnsibleModule({'how': {'type': 'str'}}, supports_check_mode=True)
    how = module.params['how']
    if how in ('exit', 'kill'):
        sys.stdout.write('partial')
        sys.stdout.flush()
    if how == 'exit':
        os._exit(3)
    if how == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if how == 'raise':
        raise ValueError('raised')
    if how == 'return':
        return
    module.warn('a warning')
    module.deprecate('a deprecation', version='9.9', collection_name='ns.col')
    module.exit_json(changed=True)
main()
"""
AGAIN = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'period': {'type': 'str'}})
module.exit_json(requeue_after=module.params['period'])
"""
WANTS = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.finds_python import ensure
module = AnsibleModule({})
module.exit_json(respawned=ensure())
"""
FINDS_PYTHON = """
import sys
from ansible.module_utils.common.respawn import has_respawned, respawn_module
def ensure():
    if not has_respawned():
        respawn_module(sys.executable)
    return has_respawned()
"""
IN_SHELL = """#!/bin/sh
# WANT_JSON
word=$(sed 's/.*"word": "\\([a-z]*\\)".*/\\1/' "$1")
echo "{\\"changed\\": false, \\"echo\\": \\"$word\\"}"
"""
OLD_STYLE = """#!/bin/sh
. "$1"
echo "{\\"changed\\": false, \\"echo\\": \\"$word\\"}"
"""
WITH_UTILS = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.our_words import WORD
from ansible.module_utils.our_package.deep import DEPTH
AnsibleModule({}).exit_json(word=WORD, depth=DEPTH)
"""
ACTING = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = {'data': self._task.args['word']}
        result.update(self._execute_module('ansible.builtin.ping', arguments, task_vars=task_vars))
        result['base'] = self._execute_module(module_name='ansible.legacy.command',
                                              module_args={'_raw_params': 'pwd'}, task_vars=task_vars)['stdout']
        return result
"""
TRANSFERRING = """
import os
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        path = self._connection._shell.tmpdir
        with open(path + 'file', 'w') as file:
            file.write('text')
        os.chmod(path + 'file', 0o400)
        os.symlink('/etc', path + 'link')
        self._fixup_perms2((path, path + 'file'))
        modes = [oct(os.stat(name).st_mode) for name in (path, path + 'file')]
        self._remove_tmp_path(path)
        left = os.path.exists(path) or not os.path.exists('/etc')
        return {'modes': modes, 'left': left, 'forgotten': self._connection._shell.tmpdir is None}
"""
CALLBACK = """
import os
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'notification', 'counting'
    def v2_playbook_on_start(self, playbook):
        self._display.display('counting from the start, for ' + os.path.basename(playbook._file_name))
"""

FILES = {
    "library/ends.py": ENDS,
    "library/again.py": AGAIN,
    "library/wants.py": WANTS,
    "module_utils/finds_python.py": FINDS_PYTHON,
    "library/in_shell.sh": IN_SHELL,
    "library/old_style.sh": OLD_STYLE,
    "library/uses_utils.py": WITH_UTILS,
    "module_utils/our_words.py": "WORD = 'ours'",
    "module_utils/our_package/__init__.py": "",
    "module_utils/our_package/deep.py": "from ansible.module_utils.our_words import WORD\nDEPTH = len(WORD)",
    "action_plugins/acting.py": ACTING,
    "action_plugins/transferring.py": TRANSFERRING,
    "callback_plugins/counting.py": CALLBACK,
    "filter_plugins/words.py": "class FilterModule:\n    def filters(self): return {'shouted': lambda s: s + '!'}",
    "test_plugins/sizes.py": "class TestModule:\n    def tests(self): return {'tiny': lambda n: n < 5}",
    "lookup_plugins/said.py": "from ansible.plugins.lookup import LookupBase\nclass LookupModule(LookupBase):\n"
    "    def run(self, terms, variables=None, **kwargs): return ['looked up']",
    "lookup_plugins/process.py": "import os\nfrom ansible.plugins.lookup import LookupBase\n"
    "class LookupModule(LookupBase):\n    def run(self, terms, variables=None, **kwargs): return [os.getpid()]",
    "lookup_plugins/ends.py": "import sys\nfrom ansible.plugins.lookup import LookupBase\n"
    "class LookupModule(LookupBase):\n    def run(self, terms, variables=None, **kwargs): sys.exit(terms[0])",
    "roles/greeting/tasks/main.yml": "- ansible.builtin.command: echo {{ word }} {{ ending }}\n  notify: role handler",
    "roles/greeting/tasks/other.yml": "- ansible.builtin.debug: {msg: '{{ item }} {{ role_path | basename }}'}",
    "roles/greeting/handlers/main.yml": "- {name: role handler, ansible.builtin.debug: {msg: handled}}",
    "roles/greeting/defaults/main.yml": "ending: there",
    "roles/specified/meta/argument_specs.yml": "argument_specs: {main: {options: {number: {type: int}}}}",
    "roles/specified/tasks/main.yml": "- ansible.builtin.debug:",
    "no_ssh": "#!/bin/sh\nexit 255\n",
    "more.yml": "- ansible.builtin.debug: {msg: 'more {{ given.name }}'}",
    "some_vars.yml": "from_file: '{{ from_play + 1 }}'",
    "first_play.yml": "- {hosts: localhost, gather_facts: false, tasks: [{set_fact: {first: 1}}]}",
    "group_vars/all.yml": "from_group: adjacent",
    "templates/text.j2": "Dear {{ given.name }}\n",
}
