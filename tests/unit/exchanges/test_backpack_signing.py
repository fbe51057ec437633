"""Signing against the published vectors, which three other clients reproduce."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from exchanges.backpack import signing
from exchanges.backpack.config import Credentials
from exchanges.errors import AuthenticationFailed


def test_signing_text_and_signature_equal_the_vectors(vectors_file: Path, credentials: Credentials) -> None:
    vectors = json.loads(vectors_file.read_text())
    key = signing.load_private_key(credentials)
    assert len(vectors["v"]) == 12
    for vector in vectors["v"]:
        instruction = vector["s"].split("&")[0].removeprefix("instruction=")
        text = signing.signing_string(instruction, vector["d"], vectors["ts"], 5000)
        assert text == vector["s"], vector["n"]
        assert signing.sign(key, text) == vector["sig"], vector["n"]


def test_headers_carry_the_time_and_window_that_were_signed(credentials: Credentials) -> None:
    key = signing.load_private_key(credentials)
    headers = signing.headers(
        credentials.api_key, key, "balanceQuery", {}, timestamp_ms=1750793021519, window_ms=4321
    )
    text = "instruction=balanceQuery&timestamp=1750793021519&window=4321"
    assert headers == {
        "X-API-Key": credentials.api_key,
        "X-Signature": signing.sign(key, text),
        "X-Timestamp": "1750793021519",
        "X-Window": "4321",
    }


def test_a_secret_of_seed_and_public_key_is_accepted() -> None:
    seed = b"\x01" * 32
    public = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    both = base64.b64encode(seed + base64.b64decode(public)).decode()
    signing.load_private_key(Credentials(api_key=public, secret_key=both))


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        ("not base64!", "is not base64"),
        ("AAAA", "has 3 bytes"),
        ("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", "do not belong together"),
    ],
)
def test_a_bad_secret_is_named_without_being_shown(secret: str, complaint: str) -> None:
    with pytest.raises(AuthenticationFailed, match=complaint) as caught:
        signing.load_private_key(
            Credentials(api_key="iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=", secret_key=secret)
        )
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
