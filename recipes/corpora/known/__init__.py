# SPDX-License-Identifier: Apache-2.0
"""Descriptions of known corpora, one YAML file each."""
