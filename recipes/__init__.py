# SPDX-License-Identifier: Apache-2.0
"""Everything that runs: recipes, and what they share."""
