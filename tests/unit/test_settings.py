from pathlib import Path

import pytest
from pydantic import ValidationError

from tallystick.settings import Settings


def test_every_setting_says_what_it_means():
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())


def test_a_setting_comes_from_the_environment_with_the_prefix(monkeypatch):
    monkeypatch.setenv("TALLY_HTTP_PORT", "9000")
    monkeypatch.setenv("HTTP_PORT", "1")
    assert Settings().http_port == 9000


@pytest.mark.parametrize("port", ["-1", "65536", "http", "1.5", ""])
def test_a_setting_out_of_bounds_is_refused(monkeypatch, port):
    monkeypatch.setenv("TALLY_HTTP_PORT", port)
    with pytest.raises(ValidationError, match="http_port"):
        Settings()


def test_settings_do_not_change_while_a_process_runs():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.shard = 1


def test_the_keys_file_stands_in_the_data_folder_unless_named():
    assert Settings(data=Path("bank")).keys_path == Path("bank/keys.json")
    assert Settings(data=Path("bank"), keys_file=Path("/etc/keys.json")).keys_path == Path("/etc/keys.json")


def test_paths_stand_in_the_data_folder():
    assert Settings(data=Path("bank")).path("intake", "lane") == Path("bank/intake/lane")
