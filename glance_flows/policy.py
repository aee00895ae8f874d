"""Who may do what: Glance's own rules, read from the operator's own policy file (C4)."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from glance_flows import errors
from glance_flows.identity import Identity
from glance_flows.images import Image

_MEMBER = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"

RULES: tuple[tuple[str, str, str], ...] = (
    ("add_image", "rule:context_is_admin or (role:member and project_id:%(owner)s)", "Create an image."),
    ("modify_image", _MEMBER, "Import data into an image."),
    ("upload_image", _MEMBER, "Upload or stage the data of an image."),
    ("copy_image", "rule:context_is_admin", "Copy an image to more stores."),
    ("delete_image", _MEMBER, "Delete an image."),
)


def list_rules() -> list[policy.RuleDefault]:
    """Return the default rules, named as Glance names them, for the policy generators."""
    admin = policy.RuleDefault("context_is_admin", "role:admin", "What makes a caller an administrator.")
    return [admin, *(policy.RuleDefault(name, rule, text) for name, rule, text in RULES)]


class Policy:
    """Decides by the operator's policy file, or by Glance's defaults where it is silent."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = policy.Enforcer(conf)
        self._require_identity = conf.glance_flows.require_identity
        self._admin_role = conf.admin_role
        for rule in list_rules():
            if rule.name == "context_is_admin":
                rule = policy.RuleDefault(rule.name, f"role:{self._admin_role}", rule.description)
            self._enforcer.register_default(rule)

    def caller(self, identity: Identity | None) -> Identity:
        """Return who asks; without an identity the operator, where that is allowed.

        :raises Unauthorized: ``require_identity`` is set and there is none (C4)
        """
        if identity is not None:
            return identity
        if self._require_identity:
            raise errors.Unauthorized("this operation needs an identity and the request has none.")
        return Identity.operator(self._admin_role)

    def is_admin(self, identity: Identity) -> bool:
        """Tell whether the caller may see and do everything."""
        return self._allows("context_is_admin", {}, identity)

    def allow(self, action: str, image: Image, identity: Identity) -> None:
        """Let the caller do ``action`` to ``image``.

        :raises Forbidden: the policy says no (C4)
        """
        target = {"project_id": image.owner, "owner": image.owner, "visibility": image.visibility}
        if not self._allows(action, target, identity):
            raise errors.Forbidden(f"the policy {action} does not allow this for image {image.id}.")

    @staticmethod
    def refuse_protected(image: Image) -> None:
        """Refuse to delete a protected image, whoever asks (S3).

        :raises Forbidden: it is protected
        """
        if image.protected:
            raise errors.Forbidden(f"image {image.id} is protected and cannot be deleted.")

    def sees(self, image: Image, identity: Identity) -> bool:
        """Tell whether the image exists for the caller at all (C3)."""
        if image.visibility in ("public", "community") or self.is_admin(identity):
            return True
        if identity.project is not None and identity.project == image.owner:
            return True
        shared_with = {member.project for member in image.members}
        return image.visibility == "shared" and identity.project in shared_with

    def _allows(self, action: str, target: Mapping[str, Any], identity: Identity) -> bool:
        return bool(self._enforcer.enforce(action, dict(target), identity.credentials()))
