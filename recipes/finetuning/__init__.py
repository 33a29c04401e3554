# SPDX-License-Identifier: Apache-2.0
"""What ``finetune`` is made of."""
