from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulator import accounts
from simulator.errors import Refusal
from simulator.signature import KeyRing, signing_string

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "backpack_vectors.json").read_text())
KEYS = KeyRing(accounts.built_in().values())
INSTRUCTIONS = {"V4": "orderExecute", "V5": "orderExecute", "V12": "subscribe"}


def instruction_of(vector: dict[str, Any]) -> str:
    return INSTRUCTIONS.get(vector["n"].split()[0]) or str(vector["s"]).split("&")[0].removeprefix(
        "instruction="
    )


def headers(signature: str, **changed: str) -> dict[str, str]:
    return {
        "X-API-Key": VECTORS["pub"],
        "X-Signature": signature,
        "X-Timestamp": str(VECTORS["ts"]),
        "X-Window": "5000",
    } | changed


@pytest.mark.parametrize("vector", VECTORS["v"], ids=lambda vector: vector["n"])
def test_every_published_vector_is_what_the_demo_account_signs(vector: dict[str, Any]) -> None:
    instruction = instruction_of(vector)
    assert signing_string(instruction, vector["d"], VECTORS["ts"], 5_000) == vector["s"]
    signed = KEYS.verify(headers(vector["sig"]), instruction, vector["d"])
    assert (signed.account.name, signed.at_ms, signed.window_ms) == ("demo", VECTORS["ts"], 5_000)


def test_a_missing_window_counts_as_five_seconds() -> None:
    given = headers(VECTORS["v"][0]["sig"])
    del given["X-Window"]
    assert KEYS.verify(given, "balanceQuery", {}).window_ms == 5_000


@pytest.mark.parametrize(
    ("changed", "payload", "message"),
    [
        pytest.param({"X-Window": "4999"}, {}, "Invalid signature", id="another window"),
        pytest.param({"X-Timestamp": "1750793021520"}, {}, "Invalid signature", id="another time"),
        pytest.param({}, {"symbol": "SOL_USDC"}, "Invalid signature", id="another payload"),
        pytest.param({"X-Signature": "not base64"}, {}, "Invalid X-Signature header", id="no base64"),
        pytest.param({"X-Timestamp": "soon"}, {}, "Invalid X-Timestamp header", id="no time"),
        pytest.param({"X-Window": "60001"}, {}, "Invalid X-Window header", id="window too long"),
        pytest.param({"X-Window": "0"}, {}, "Invalid X-Window header", id="no window"),
        pytest.param({"X-API-Key": "AAAA"}, {}, "Unknown API key", id="stranger"),
    ],
)
def test_what_was_not_signed_like_this_is_refused(
    changed: dict[str, str], payload: dict[str, str], message: str
) -> None:
    with pytest.raises(Refusal, match=message):
        KEYS.verify(headers(VECTORS["v"][0]["sig"], **changed), "balanceQuery", payload)


def test_the_third_party_signs_with_its_own_key() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    text = signing_string("balanceQuery", {}, VECTORS["ts"], 5_000)
    signature = base64.b64encode(key.sign(text.encode())).decode()
    given = headers(signature, **{"X-API-Key": public})
    assert KEYS.verify(given, "balanceQuery", {}).account.name == "other"


def test_a_further_key_opens_the_same_account() -> None:
    account = accounts.built_in()["demo"]
    account.more_keys = (accounts.built_in()["other"].public_key,)
    ring = KeyRing([account])
    assert ring.owner(account.more_keys[0]) is ring.owner(account.public_key) is account
