"""Who may do what, and who sees what (C3, C4)."""

from typing import Any

from oslo_config import cfg

from glance_flows import Identity, errors, opts
from glance_flows.images import Image, Member
from glance_flows.policy import Policy, list_rules
from tests import base

MEMBER = Identity(project="p", roles=("member",))


class TestPolicy(base.TestCase):
    def policy(self, **own: Any) -> Policy:
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("admin_role", own.pop("admin_role", "admin"))
        for name, value in own.items():
            conf.set_override(name, value, group="glance_flows")
        return Policy(conf)

    def test_the_caller(self) -> None:
        """C4: without an identity it is the operator, where that is allowed."""
        self.assertTrue(self.policy().is_admin(self.policy().caller(None)))
        self.assertIs(MEMBER, self.policy().caller(MEMBER))
        demanding = self.policy(require_identity=True)
        self.assertRaises(errors.Unauthorized, demanding.caller, None)
        self.assertIs(MEMBER, demanding.caller(MEMBER))

    def test_the_admin_role(self) -> None:
        """C4, D2: admin_role names the role whose holders may do everything."""
        boss, admin = Identity(roles=("boss",)), Identity(roles=("admin",))
        policy = self.policy(admin_role="boss")
        self.assertEqual((True, False), (policy.is_admin(boss), policy.is_admin(admin)))
        self.assertTrue(policy.is_admin(policy.caller(None)))

    def test_what_is_seen(self) -> None:
        """C3: by visibility, ownership and membership."""
        stranger = Identity(project="q", roles=("member",))
        shared = (Member("q", "accepted"),)
        cases = (
            (Image("i", "active", owner="p", visibility="private"), MEMBER, True),
            (Image("i", "active", owner="p", visibility="private", members=shared), stranger, False),
            (Image("i", "active", owner="p", visibility="shared"), stranger, False),
            (Image("i", "active", owner="p", visibility="shared", members=shared), stranger, True),
            (Image("i", "active", owner="p", visibility="community"), stranger, True),
            (Image("i", "active", owner="p", visibility="public"), Identity(), True),
            (Image("i", "active", owner=None, visibility="private"), Identity(), False),
            (Image("i", "active", owner="p", visibility="private"), Identity(roles=("admin",)), True),
        )
        for image, who, seen in cases:
            self.assertIs(seen, self.policy().sees(image, who), (image, who))

    def test_rules(self) -> None:
        """C4, D4: the rules are Glance's by name, each described, for the generator of samples."""
        names = {rule.name for rule in list_rules()}
        self.assertLessEqual({"modify_image", "copy_image", "delete_image", "upload_image", "add_image"}, names)
        self.assertTrue(all(rule.description for rule in list_rules()))
        image = Image("i", "active", owner="p")
        self.policy().allow("delete_image", image, MEMBER)
        for who in (Identity(project="q", roles=("member",)), Identity(project="p", roles=("reader",)), Identity()):
            self.assertRaises(errors.Forbidden, self.policy().allow, "delete_image", image, who)
