"""URLs of locations, encrypted as Glance does (S9)."""

import base64

from glance_flows import errors
from glance_flows.db.crypt import Cryptographer
from tests import base

KEY = "0123456789abcdef"
URL = "s3://key:secret@host/bucket/object"


class TestCryptographer(base.TestCase):
    def test_there_and_back(self) -> None:
        """S9: with keys of each length; the same URL is stored differently every time."""
        for key in (KEY, KEY + KEY[:8], KEY + KEY):
            crypt = Cryptographer(key)
            for url in (URL, *("file:///" + "x" * size for size in range(17)), "file:///\N{ROCKET}"):
                self.assertEqual(url, crypt.decrypt(crypt.encrypt(url)))
            self.assertNotEqual(crypt.encrypt(URL), crypt.encrypt(URL))
            self.assertNotIn("secret", crypt.encrypt(URL))

    def test_what_another_program_encrypted(self) -> None:
        """S9: the vector first, then AES in CBC mode, in URL-safe base64; this one is by openssl enc -aes-128-cbc."""
        self.assertEqual("file:///x", Cryptographer(KEY).decrypt("AAECAwQFBgcICQoLDA0OD204Gy_oNGJUGhPxfph79CU="))

    def test_the_format(self) -> None:
        """S9: a vector and whole blocks, as a Glance reads it."""
        stored = base64.urlsafe_b64decode(Cryptographer(KEY).encrypt("x" * 20))
        self.assertEqual(16 + 32, len(stored))

    def test_without_a_key(self) -> None:
        """S9: URLs are as they are."""
        crypt = Cryptographer(None)
        self.assertEqual((URL, URL, False), (crypt.encrypt(URL), crypt.decrypt(URL), crypt.enabled))

    def test_what_does_not_decrypt(self) -> None:
        """S9, F2: a plain URL, garbage or a part is told without what was read."""
        for stored in (URL, "", "AAAA", Cryptographer(KEY).encrypt(URL)[:-8]):
            failure = self.assertRaises(errors.DatabaseError, Cryptographer(KEY).decrypt, stored)
            self.assertNotIn("secret", str(failure))
