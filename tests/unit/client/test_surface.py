import subprocess
import sys

import pytest

import tallystick.client


def test_every_name_of_the_surface_is_there_and_comes_from_where_types_say() -> None:
    assert sorted(tallystick.client._HOMES) == sorted(tallystick.client.__all__)
    for name in tallystick.client.__all__:
        found = getattr(tallystick.client, name)
        if tallystick.client._HOMES[name].startswith("tallystick.client"):
            assert found.__module__ == tallystick.client._HOMES[name]
            assert found.__doc__
    with pytest.raises(AttributeError):
        tallystick.client.Nothing  # noqa: B018


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(tallystick.client.Client) == public(tallystick.client.AsyncClient)


def test_the_command_line_does_not_wait_for_aiohttp() -> None:
    program = "import sys, tallystick.client.http, tallystick.cli.main; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
