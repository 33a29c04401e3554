# SPDX-License-Identifier: Apache-2.0
"""Where the server listens, and who is warned."""

import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.serving.address import address_of, exposure_warning, open_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_machine_alone_needs_no_warning(host: str) -> None:
    with open_socket(host, 0) as opened:
        port = opened.getsockname()[1]
        assert port > 0
        assert address_of(opened, host) == f"http://{host}:{port}"
        assert exposure_warning(opened, host) == ""


def test_everywhere_is_warned_of_and_reached_by_an_address_that_works() -> None:
    host = "0.0.0.0"
    with open_socket(host, 0) as opened:
        assert address_of(opened, host).startswith("http://127.0.0.1:")
        assert "There is no password and no encryption" in exposure_warning(opened, host)


def test_a_port_is_taken_once() -> None:
    with open_socket("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(UsageError, match=f"--host 127.0.0.1 --port {port}: cannot listen"):
            open_socket("127.0.0.1", port)
