# SPDX-License-Identifier: Apache-2.0
"""Probabilities, scores and comparisons of what was trained."""
