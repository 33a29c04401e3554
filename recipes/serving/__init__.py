# SPDX-License-Identifier: Apache-2.0
"""What `voxadapt serve` is made of: HTTP endpoint, batches, limits, and the page."""
