# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lookup that renders the templates of our roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_template
short_description: Render a template of a role of this collection
version_added: 0.1.0
description:
  - Used by the roles of this collection. Not for playbooks, which have P(ansible.builtin.template#lookup).
  - That one copies all variables of the host for each template, which takes seconds where thousands of services are defined.
author:
  - The holdfast.supervision authors (@holdfast)
options:
  _terms:
    description: The templates, found as those of M(ansible.builtin.template) are.
    type: list
    elements: str
    required: true
seealso:
  - plugin: ansible.builtin.template
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show what a role would write
  ansible.builtin.debug:
    msg: "{{ lookup('holdfast.supervision.role_template', 'holdfast.service.j2') }}"
"""

RETURN = r"""
_raw:
  description: The texts.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template


class LookupModule(LookupBase):
    """What Ansible looks for."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Do it, with the variables that the caller's expression sees."""
        self.set_options(var_options=variables, direct=kwargs)
        texts = []
        for term in terms:
            path = self.find_file_in_search_path(variables, "templates", term)
            if not path:
                raise AnsibleLookupError(f"the template {term} could not be found")
            template = trust_as_template(self._loader.get_text_file_contents(path))
            texts.append(str(self._templar.template(template, escape_backslashes=False)))
        return texts
