# SPDX-License-Identifier: Apache-2.0
"""What `export` is made of: a model as one graph, its file, and the proof that they agree."""
