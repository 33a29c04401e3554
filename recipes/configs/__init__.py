# SPDX-License-Identifier: Apache-2.0
"""YAML files that the recipes take with ``--config``."""
