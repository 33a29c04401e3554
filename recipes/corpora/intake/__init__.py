# SPDX-License-Identifier: Apache-2.0
"""Other people's folders, tables and file names, turned into the clips of a manifest."""
