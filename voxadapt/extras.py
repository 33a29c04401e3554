# SPDX-License-Identifier: Apache-2.0
"""How the packages that one command needs, and others do not, are installed."""


def install_command(extra: str) -> str:
    """The command that installs an extra, for the message where a package of it is missing.

    Args:
        extra: Its name in ``pyproject.toml``.

    Returns:
        The command, and where it is to be run: the package is installed from its repository.

    Example:
        >>> install_command("onnx")
        "pip install -e '.[onnx]' in the repository of voxadapt"
    """
    return f"pip install -e '.[{extra}]' in the repository of voxadapt"
