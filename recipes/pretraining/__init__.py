# SPDX-License-Identifier: Apache-2.0
"""What ``pretrain_adapter`` is made of."""
