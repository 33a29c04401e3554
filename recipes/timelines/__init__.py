# SPDX-License-Identifier: Apache-2.0
"""What `timeline` is made of."""
