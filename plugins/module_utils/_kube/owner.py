# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Who owns an object. Pure."""

from __future__ import annotations

import typing as t

from .kind import Kind, S
from .shapes import OwnerReference


def owner_reference(kind: Kind[S], owner: S) -> OwnerReference:
    """Return what makes an object the owner's: it goes with it, and its changes are the owner's."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owners_of(thing: t.Mapping[str, t.Any]) -> list[OwnerReference]:
    """Return an object's owner references."""
    owners: list[OwnerReference] | None = thing["metadata"].get("ownerReferences")
    return owners or []


def is_owned_by(thing: t.Mapping[str, t.Any], uid: str) -> bool:
    """Tell whether the object of this UID owns another."""
    return any(owner.get("uid") == uid for owner in owners_of(thing))
