"""Where an instance trades, and as whom."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runner.config import ConfigError, LoadedConfig
from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY, resolve_credentials, venue_url

Json = dict[str, Any]
Load = Callable[..., LoadedConfig]

KEYS = {"BACKPACK_KEY": "public", "BACKPACK_SECRET": "hush"}
SIMULATOR = "http://127.0.0.1:8900"


def test_the_demo_keys_are_a_pair() -> None:
    seed = base64.b64decode(DEMO_SECRET_KEY)

    assert seed == bytes([1] * 32)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert base64.b64encode(public).decode() == DEMO_API_KEY


def test_a_simulated_instance_without_keys_is_the_demo_account(load: Load, content: Json) -> None:
    assert resolve_credentials(load(content).config, {}).api_key == DEMO_API_KEY
    del content["exchange_config"]
    assert resolve_credentials(load(content).config, KEYS).api_key == DEMO_API_KEY


def test_a_simulated_instance_never_signs_with_real_keys(load: Load, content: Json) -> None:
    assert resolve_credentials(load(content).config, KEYS).api_key == DEMO_API_KEY


def test_a_live_instance_uses_its_keys_and_does_not_print_them(load: Load, content: Json) -> None:
    content["live"] = True

    found = resolve_credentials(load(content, KEYS).config, KEYS)

    assert (found.api_key, found.secret_key) == ("public", "hush")
    assert "hush" not in repr(found)


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_half_a_pair_is_an_error_that_names_the_other_half(load: Load, content: Json, missing: str) -> None:
    content["live"] = True
    config = load(content, KEYS).config

    with pytest.raises(ConfigError, match=f"variable {missing} is not set") as caught:
        resolve_credentials(config, {**KEYS, missing: ""})
    assert "hush" not in str(caught.value)


def test_a_live_instance_never_falls_back_to_the_demo_account(load: Load, content: Json) -> None:
    content["live"] = True
    config = load(content, KEYS).config

    with pytest.raises(ConfigError, match="BACKPACK_KEY is not set"):
        resolve_credentials(config, {})


def test_an_exchange_without_an_adapter_is_refused(load: Load, content: Json) -> None:
    content["metadata"]["exchange"] = "aster"

    with pytest.raises(ConfigError, match="cannot trade on aster"):
        resolve_credentials(load(content).config, KEYS)


def test_only_a_live_instance_reaches_the_address_of_its_file(load: Load, content: Json) -> None:
    content["exchange_config"]["base_url"] = "https://api.example.com"
    assert venue_url(load(content).config, SIMULATOR) == SIMULATOR

    content["live"] = True
    assert venue_url(load(content, KEYS).config, SIMULATOR) == "https://api.example.com"

    del content["exchange_config"]["base_url"]
    assert venue_url(load(content, KEYS).config, SIMULATOR) == "https://api.backpack.exchange"
