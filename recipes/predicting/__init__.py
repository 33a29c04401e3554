# SPDX-License-Identifier: Apache-2.0
"""What ``predict`` is made of: which files, and how their results are written."""
