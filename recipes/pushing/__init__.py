# SPDX-License-Identifier: Apache-2.0
"""What is uploaded of a finished run."""
