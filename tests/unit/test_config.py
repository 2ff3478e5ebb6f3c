"""The settings tree: where values come from, how they are written, what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from angarium import config
from angarium.commands.check_config import leaves, sample_file
from angarium.errors import ConfigurationError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90 s", 90), ("15 min", 900), ("24 h", 86_400), ("7 days", 604_800), ("250ms", 0.25),
        ("1.5 h", 5_400), (30, 30), ("30", 30), ("1 day", 86_400),
    ],
)  # fmt: skip
def test_durations_carry_units(written: object, seconds: float) -> None:
    assert config.parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["soon", "5 parsecs", "-3 s", "", "1 h 30 min", True])
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="15 min"):
        config.parse_duration(written)


@pytest.mark.parametrize(("written", "octets"), [("500 MB", 500_000_000), ("1.5GB", 1_500_000_000), (7, 7)])
def test_sizes_carry_units(written: object, octets: int) -> None:
    assert config.parse_size(written) == octets


def load(tmp_path: Path, toml: str = "", **environment: str) -> config.Settings:
    file = tmp_path / "angarium.toml"
    file.write_text(toml)
    return config.load(file, environment)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    toml = '[mta]\nnode = "from-file"\nmin_free_disk = "2 GB"\n'
    settings = load(tmp_path, toml, ANGARIUM_MTA__NODE="from-environment")
    assert (settings.mta.node, settings.mta.min_free_disk, settings.mta.couriers) == (
        "from-environment", 2_000_000_000, 0,
    )  # fmt: skip


@pytest.mark.parametrize("toml", ['colour = "red"', '[mta]\ncolour = "red"', "[colours]\nred = 1"])
def test_an_unknown_key_is_refused_by_name(tmp_path: Path, toml: str) -> None:
    with pytest.raises(ConfigurationError, match="colour.*: no such setting"):
        load(tmp_path, toml)


def test_an_unknown_variable_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"mta\.colour: no such setting"):
        load(tmp_path, ANGARIUM_MTA__COLOUR="red")


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, '[web]\nport = 99999\n[recorder]\nevent_retention = "a while"\n')
    assert "web.port" in str(raised.value)
    assert "recorder.event_retention" in str(raised.value)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("postgresql://me:hidden@db/angarium\n")
    settings = load(tmp_path, ANGARIUM_DATABASE_URL_FILE=str(secret))
    assert settings.database == "postgresql://me:hidden@db/angarium"
    assert "hidden" not in repr(settings)


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ANGARIUM_DATABASE_URL_FILE"):
        load(tmp_path, ANGARIUM_DATABASE_URL_FILE=str(tmp_path / "nothing"))


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.toml does not exist"):
        config.load(tmp_path / "nothing.toml", {})


@pytest.mark.parametrize("url", ["mysql://h/d", "host/db"])
def test_an_unknown_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url: must begin with"):
        load(tmp_path, ANGARIUM_DATABASE_URL=url)


def test_the_secret_key_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    settings = load(tmp_path, ANGARIUM_DATA=str(tmp_path / "data"))
    assert settings.secret() == settings.secret()
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600


def test_the_origin_of_each_setting_is_known(tmp_path: Path) -> None:
    file = tmp_path / "angarium.toml"
    file.write_text('data = "/srv"\n[mta]\nnode = "a"\ncouriers = 2\n')
    found = config.origins(file, {"ANGARIUM_MTA__NODE": "b", "ANGARIUM_SECRET_KEY_FILE": "/x"})
    assert found == {
        "data": str(file), "mta.couriers": str(file), "mta.node": "ANGARIUM_MTA__NODE",
        "secret_key": "ANGARIUM_SECRET_KEY_FILE",
    }  # fmt: skip


def test_the_sample_with_every_setting_uncommented_is_the_defaults() -> None:
    body = sample_file().partition("\n\n")[2]
    settings = [re.sub(r"^# (?=\w+ = )", "", line) for line in body.splitlines()]
    assert config.Settings.model_validate(tomllib.loads("\n".join(settings))) == config.Settings()


def test_the_sample_names_every_setting() -> None:
    named = re.findall(r"^# (\w+) =", sample_file(), re.MULTILINE)
    assert sorted(named) == sorted(key.rpartition(".")[2] for key, _ in leaves(config.Settings()))
