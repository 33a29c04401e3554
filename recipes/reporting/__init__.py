# SPDX-License-Identifier: Apache-2.0
"""``report.html`` of a fine-tuning run, and what other pages borrow from it."""
