# SPDX-License-Identifier: Apache-2.0
"""An exported file with its matrix products in 8 bits."""

import json
from pathlib import Path

from voxadapt.recipes.exporting.onnx_file import METADATA_KEY, onnx_parts, quietly

QUANTIZATION = "int8, dynamic"


def quantize(path: Path, out: Path) -> None:
    """Quantise the weights of the linear layers to 8 bits; what goes into them, as it comes.

    The spectrogram, which is in float64, the convolutions and the norms stay as they are: they are
    few weights, and the quiet parts of a spectrogram would be lost. Weights have a scale for each
    output, and 7 of the 8 bits, since processors without VNNI overflow with all of them.

    What goes into a layer is scaled by its largest value in the whole batch. So a clip's result
    hangs a little on the others in its batch, which the metadata tells as ``padding_exact``.

    Args:
        path: A file of `write_onnx`.
        out: The file to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    # It turns weights round and would then find that the shapes written down do not fit.
    del model.graph.value_info[:]
    with quietly():
        quantize_dynamic(
            model,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=len(onnx_parts(path)) > 1,
        )
    model = onnx.load(out, load_external_data=False)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            described = {**json.loads(entry.value), "quantization": QUANTIZATION}
            described["padding_exact"] = False
            entry.value = json.dumps(described, ensure_ascii=False)
    onnx.save(model, out)
