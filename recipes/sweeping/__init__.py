# SPDX-License-Identifier: Apache-2.0
"""What ``sweep_layers`` is made of."""
