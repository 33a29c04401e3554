# SPDX-License-Identifier: Apache-2.0
"""Where the server listens, and what is said of it."""

import ipaddress
import socket

from voxadapt.recipes.running.command_line import UsageError


def open_socket(host: str, port: int) -> socket.socket:
    """Take a place to listen at before anything is loaded.

    Args:
        host: Name or address.
        port: 0 takes any that is free.

    Raises:
        UsageError: The host is none of this machine, or the port is taken or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(
            f"--host {host}: is no name or address ({error}). Give 127.0.0.1 for this machine "
            "alone, 0.0.0.0 for all that can reach it"
        ) from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}). Give another "
            "--port, or --port 0 for any that is free"
        ) from error
    return opened


def address_of(opened: socket.socket, host: str) -> str:
    """The address to type into a browser on this machine."""
    port = opened.getsockname()[1]
    if is_everywhere(opened):
        host = "127.0.0.1" if opened.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_everywhere(opened: socket.socket) -> bool:
    """Whether it listens on all of the machine's addresses."""
    return ipaddress.ip_address(opened.getsockname()[0]).is_unspecified


def is_local(opened: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(opened.getsockname()[0]).is_loopback


def exposure_warning(opened: socket.socket, host: str) -> str:
    """What whoever lets others in should know; empty where nobody else can reach it."""
    if is_local(opened):
        return ""
    return (
        f"WARNING: --host {host}: whoever can reach this machine over the network can use the "
        "model and the page. There is no password and no encryption; put a proxy with both in "
        "front of it, or use --host 127.0.0.1."
    )
