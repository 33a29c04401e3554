# SPDX-License-Identifier: Apache-2.0
"""What ``check_data`` writes."""
