from pathlib import Path

import pytest
from pydantic import ValidationError

from tallystick.blockfile.segments import padded
from tallystick.records.blocks import BLOCK_SIZE_MAX, HEADER_SIZE
from tallystick.records.commands import COMMAND_SIZE, COMMANDS_MAX
from tallystick.settings import LANE_SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN, Settings


def test_every_setting_says_what_it_means():
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())


def test_a_setting_comes_from_the_environment_with_the_prefix(monkeypatch):
    monkeypatch.setenv("TALLY_HTTP_PORT", "9000")
    monkeypatch.setenv("HTTP_PORT", "1")
    assert Settings().http_port == 9000


def test_the_largest_block_fits_the_smallest_segment():
    assert padded(BLOCK_SIZE_MAX) <= SEGMENT_BYTES_MIN
    assert padded(HEADER_SIZE + COMMANDS_MAX * COMMAND_SIZE) <= LANE_SEGMENT_BYTES_MIN
    for name, least in (("segment_bytes", SEGMENT_BYTES_MIN), ("lane_segment_bytes", LANE_SEGMENT_BYTES_MIN)):
        assert Settings(**{name: least})
        with pytest.raises(ValidationError, match=name):
            Settings(**{name: least - 512})


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
