"""The URLs of locations, encrypted as Glance does: AES in CBC mode, the vector first, in URL-safe base64 (S9)."""

import base64
import binascii
import os
import secrets
from typing import Any

from glance_flows import errors

_BLOCK = 16


class Cryptographer:
    """Encrypts and decrypts the URLs of locations; without a key it passes them on as they are.

    :param key: ``metadata_encryption_key``, of 16, 24 or 32 characters
    """

    def __init__(self, key: str | None) -> None:
        self._key = key.encode() if key else None

    @property
    def enabled(self) -> bool:
        """Whether URLs are stored encrypted, so that they cannot be compared in a query."""
        return self._key is not None

    def encrypt(self, url: str) -> str:
        """Return what is stored for ``url``."""
        if self._key is None:
            return url
        text = url.encode()
        # Padding is a zero byte and then bytes that are never zero: the last zero byte marks the end of the text.
        padding = bytes(secrets.randbelow(255) + 1 for _ in range(_BLOCK - len(text) % _BLOCK - 1))
        vector = os.urandom(_BLOCK)
        encryptor = _cipher(self._key, vector).encryptor()
        sealed = encryptor.update(text + b"\0" + padding) + encryptor.finalize()
        return base64.urlsafe_b64encode(vector + sealed).decode()

    def decrypt(self, stored: str) -> str:
        """Return the URL that was stored.

        :raises DatabaseError: the value was not encrypted with this key
        """
        if self._key is None:
            return stored
        try:
            sealed = base64.urlsafe_b64decode(stored.encode())
            decryptor = _cipher(self._key, sealed[:_BLOCK]).decryptor()
            padded = decryptor.update(sealed[_BLOCK:]) + decryptor.finalize()
            url: str = padded[: padded.rindex(b"\0")].decode()
        except (ValueError, binascii.Error) as failure:
            raise errors.DatabaseError("a location does not decrypt with metadata_encryption_key.") from failure
        if "://" not in url:  # with a wrong key, a few in a thousand come out as text of some kind
            raise errors.DatabaseError("a location does not decrypt with metadata_encryption_key.")
        return url


def _cipher(key: bytes, vector: bytes) -> Any:
    # Where there is no key, and mostly there is none, its megabytes are not needed.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.CBC(vector))
