# SPDX-License-Identifier: Apache-2.0
"""What every recipe runs on: command line, run folders, processes, checkpoints, frames."""
