# SPDX-License-Identifier: Apache-2.0
"""From manifests to batches: everything that knows about clips on disk."""
