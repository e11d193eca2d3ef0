"""Settings from the environment."""

from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.settings import Limits, Settings, data_folder


def test_everything_lies_in_the_home_folder_by_default(tmp_path: Path) -> None:
    settings = Settings.from_environment({"POLARLIGHT_HOME": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/polarlight.db"
    assert settings.objects_url == f"file://{tmp_path}/objects"
    assert settings.limits == Limits()


def test_without_a_home_the_platforms_folder_is_taken() -> None:
    assert Settings.from_environment({}).home == data_folder().resolve()


def test_variables_change_places_and_limits(tmp_path: Path) -> None:
    environment = {
        "POLARLIGHT_HOME": str(tmp_path),
        "POLARLIGHT_DATABASE_URL": "postgresql://db/polarlight",
        "POLARLIGHT_OBJECTS_URL": "s3://bucket/prefix",
        "POLARLIGHT_PUBLIC_URL": "https://pictures.example/",
        "POLARLIGHT_LEASE_S": "2.5",
        "POLARLIGHT_ATTEMPTS": "7",
    }
    settings = Settings.from_environment(environment)
    assert (settings.database_url, settings.objects_url) == ("postgresql://db/polarlight", "s3://bucket/prefix")
    assert settings.public_url == "https://pictures.example"
    assert settings.limits == Limits(lease_s=2.5, attempts=7)


@pytest.mark.parametrize("value", ["soon", "0", "-1"])
def test_a_limit_that_is_no_number_above_zero_names_its_variable(value: str) -> None:
    with pytest.raises(UserError, match="LEASE_S"):
        Settings.from_environment({"POLARLIGHT_HOME": "home", "POLARLIGHT_LEASE_S": value})


def test_shown_settings_keep_the_databases_password(tmp_path: Path) -> None:
    assert "hunter2" not in repr(Settings.at(tmp_path, database_url="postgresql://user:hunter2@host/name"))


def test_a_prices_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Settings.from_environment({"POLARLIGHT_PRICES": str(tmp_path / "prices.toml")})
