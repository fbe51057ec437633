"""Whatever stands in an instance's file: a configuration that can be used and kept, or one `ConfigError`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config import ConfigError, InstanceConfig, LoadedConfig, load_instance, version_of
from runner.config_credentials import resolve_credentials
from runner.loaded import from_config
from tests.fuzz.fuzzing import broken, fuzz, nasty_values, spoiled, written

FILES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "data" / "configs").glob("*.json"))
}
ENVIRON = {"BACKPACK_KEY": "k", "BACKPACK_SECRET": "s", "PLAIN": "plain", "EMPTY": "", "BYTES": "\udcff"}

variables = st.sampled_from(
    (
        "${PLAIN}",
        "${EMPTY}",
        "${BYTES}",
        "${BACKPACK_KEY}",
        "${NONE}",
        "${NONE:-x}",
        "${",
        "${}",
        "${A",
        "$" * 9,
    )
)


def load(text: str | bytes, instance_id: str, environ: Mapping[str, str] = ENVIRON) -> LoadedConfig | None:
    """Load a file; None when it is refused, with an error that says where and what."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{instance_id}.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            loaded = load_instance(instance_id, Path(folder), environ)
        except ConfigError as error:
            assert str(path) in str(error)
            assert error.problems
            for problem in error.problems:
                assert problem.path
                assert problem.message
                assert len(str(problem)) < 2000
            assert str(error).encode(), "can be printed"
            return None
    assert_usable(loaded.config)
    return loaded


def assert_usable(config: InstanceConfig) -> None:
    """Require that a configuration can be stored, read back as the same, and made an instance of."""
    stored = config.to_json()
    assert json.loads(stored, parse_constant=pytest.fail)
    again = InstanceConfig.from_json(stored)
    assert again == config
    assert version_of(again) == version_of(config)
    if config.runnable:
        instance = from_config(config)
        assert 200 <= instance.interval_ms <= 86_400_000
        assert 1000 <= instance.window_ms <= 60_000
        try:
            resolve_credentials(config, ENVIRON)
        except ConfigError:
            assert config.live


@pytest.mark.parametrize("name", FILES)
@fuzz(60)
@given(data=st.data())
def test_a_spoiled_file_is_refused_or_can_be_used(name: str, data: st.DataObject) -> None:
    load(data.draw(spoiled(FILES[name])), name)


@pytest.mark.parametrize("name", FILES)
@fuzz(40)
@given(data=st.data())
def test_a_section_with_anything_in_it_is_refused_or_can_be_used(name: str, data: st.DataObject) -> None:
    content = dict(FILES[name])
    section = data.draw(st.sampled_from([*content, "limits", "stop", "daemon_config"]))
    given_section = content.get(section, {})
    if isinstance(given_section, dict):
        keys = st.sampled_from(
            [*given_section, "max_position", "min_balance", "orders", "base_url", "interval"]
        )
        values = st.one_of(nasty_values, variables)
        content[section] = given_section | data.draw(st.dictionaries(keys, values, max_size=3))
    load(written(content), name)


@fuzz(100)
@given(text=st.one_of(st.text(), st.binary()), environ=st.dictionaries(st.text(), st.text(), max_size=2))
def test_any_file_is_refused_or_can_be_used(text: str | bytes, environ: dict[str, str]) -> None:
    load(text, "mm_01", environ)


@fuzz(100)
@given(
    instance_id=st.one_of(st.text(), st.sampled_from(("", ".", "..", "a/b", "\x00", "a\n", "x" * 300, "é")))
)
def test_any_name_of_an_instance_is_an_error_of_ours(instance_id: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_instance(instance_id, Path(__file__).parent / "nowhere", {})
    assert len(str(caught.value)) < 1000
    assert str(caught.value).encode(), "can be printed"


@pytest.mark.parametrize("name", FILES)
@fuzz(60)
@given(data=st.data())
def test_a_stored_configuration_that_is_damaged_is_an_error_of_ours(name: str, data: st.DataObject) -> None:
    loaded = load(json.dumps(FILES[name]), name)
    assert loaded is not None
    stored = written(data.draw(broken(json.loads(loaded.config.to_json()))))
    try:
        config = InstanceConfig.from_json(stored)
    except ConfigError as error:
        assert error.problems
    else:
        assert_usable(config)


@pytest.mark.parametrize("name", FILES)
@fuzz(20)
@given(data=st.data())
def test_the_order_of_keys_changes_nothing(name: str, data: st.DataObject) -> None:
    def reordered(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: reordered(value[key]) for key in data.draw(st.permutations(list(value)))}

    first, second = load(json.dumps(FILES[name]), name), load(json.dumps(reordered(FILES[name])), name)
    assert first is not None
    assert second is not None
    assert first.config == second.config
    assert version_of(first.config) == version_of(second.config)
