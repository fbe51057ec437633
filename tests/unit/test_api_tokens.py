from __future__ import annotations

import stat
from pathlib import Path

import pytest

from api_tokens import PREFIX, TokenError, TokenFile


def test_a_token_is_known_by_its_name_and_kept_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "run" / "tokens.json"
    token = TokenFile(path).make("backup")
    assert token.startswith(PREFIX)
    assert TokenFile(path).name_of(token) == "backup"
    assert token not in path.read_text()
    assert token.removeprefix(PREFIX) not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_token_is_nobodys(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    assert tokens.name_of("anything") is None
    token = tokens.make("one")
    assert tokens.name_of(token[:-1]) is None
    assert tokens.name_of("") is None


def test_a_running_server_refuses_a_revoked_token_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    server, command = TokenFile(path), TokenFile(path)
    one, other = command.make("one"), command.make("other")
    assert (server.name_of(one), server.name_of(other)) == ("one", "other")
    command.revoke("one")
    assert (server.name_of(one), server.name_of(other)) == (None, "other")


def test_names_are_checked_and_not_given_twice(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    tokens.make("one")
    for name in ("", "one", "a b", "../x", "x" * 65):
        with pytest.raises(TokenError):
            tokens.make(name)
    with pytest.raises(TokenError, match="there is: one"):
        tokens.revoke("two")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tokens": [1]}', "[" * 100_000])
def test_a_damaged_file_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(TokenError, match="damaged"):
        TokenFile(path).name_of("x")


def test_a_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = TokenFile(path)
    token = tokens.make("one")
    path.chmod(0o644)
    with pytest.raises(TokenError, match="chmod 600"):
        TokenFile(path).name_of(token)
