# SPDX-License-Identifier: Apache-2.0
"""Names by which transformers finds the class of a saved model."""

MODEL_TYPE = "voxadapt"
ARCHITECTURE = "VoxadaptForAudioClassification"
