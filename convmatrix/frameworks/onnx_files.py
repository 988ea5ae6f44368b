"""ONNX files, which are not trusted: parsing, and arrays whose sizes are checked before they are read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory

if TYPE_CHECKING:
    from convmatrix.arrays import Array

_BITS: Final = {
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    "BFLOAT16": 16,
}
"""Bits of an entry of the types that NumPy does not have."""
_NOT_ONNX: Final = "it is damaged, or not an ONNX file; export the model again, or convert it with onnx.save"


def onnx_package() -> Any:
    """Return the package onnx; raise ImportError with the command that installs it."""
    try:
        import onnx
        import onnx.defs
        import onnx.helper
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.reference
        import onnx.shape_inference
    except ImportError:
        raise ImportError(
            "reading an ONNX file needs the package onnx, which is not installed: pip install onnx"
        ) from None
    return onnx


def load_model(source: Any) -> tuple[Any, Path | None]:
    """Return a model without its external data, and the folder that those are in.

    The source is a path, the bytes of a file, or an onnx.ModelProto. OSError if the file cannot be read, and ValueError
    if it is not an ONNX model.
    """
    onnx = onnx_package()
    if isinstance(source, onnx.ModelProto):
        return source, None
    if isinstance(source, bytes):
        return _parsed(onnx, source, "the bytes"), None
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a network is read from a path or an onnx.ModelProto, but was given a {type(source).__name__}")
    path = Path(source)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give the path of the .onnx file")
    memory.require(2 * path.stat().st_size, f"the model in {path}", "read it on a larger machine")
    return _parsed(onnx, path.read_bytes(), str(path)), path.parent


def _parsed(onnx: Any, data: bytes, what: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        model.graph.SerializeToString()  # C++ parts parse what Python serialises
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{what} cannot be parsed ({str(error).strip() or type(error).__name__}): {_NOT_ONNX}"
        ) from None
    if not model.HasField("graph"):
        raise ValueError(f"{what} has no graph: {_NOT_ONNX}")
    return model


def tensor_array(tensor: Any, folder: Path | None, owner: str) -> Array:
    """Return the values of a TensorProto, after its sizes were compared with the data that it has.

    External data are in the folder, if any. Messages call the tensor ``owner``, such as ``"initializer 'w'"``.
    """
    onnx = onnx_package()
    shape = tuple(int(n) for n in tensor.dims)
    if min(shape, default=0) < 0:
        raise ValueError(f"{owner} has the shape {shape}, with a negative size; {_NOT_ONNX}")
    try:
        type_name = onnx.TensorProto.DataType.Name(tensor.data_type)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"{owner} has the unknown data type {tensor.data_type}; {_NOT_ONNX}") from None
    if tensor.HasField("segment"):
        raise ValueError(f"{owner} is stored in segments, which are not read; save the model again with onnx.save")
    n = math.prod(shape)
    bits = _BITS.get(type_name, 8 * dtype.itemsize)
    n_bytes = -(-n * bits // 8)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if field == "string_data":
            raise ValueError(f"{owner} holds strings in external data, which ONNX does not allow")
        data = _external_data(tensor, n_bytes, folder, f"{owner} of shape {shape}")
        copy = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
        return _converted(onnx, copy, owner)
    if tensor.HasField("raw_data") and field != "string_data":
        found, needed, unit = len(tensor.raw_data), n_bytes, "bytes"
    else:
        per_entry = 2 if type_name.startswith("COMPLEX") else 1
        needed = n_bytes if bits < 8 else n * per_entry
        found, unit = len(getattr(tensor, field)), "values"
    if found != needed:
        raise ValueError(
            f"{owner} of shape {shape} and type {type_name} needs {needed} {unit}, but has {found}; {_NOT_ONNX}"
        )
    return _converted(onnx, tensor, owner)


def _converted(onnx: Any, tensor: Any, owner: str) -> Array:
    try:
        array: Array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        raise ValueError(f"{owner} cannot be read ({error}); {_NOT_ONNX}") from None
    return array


def _external_data(tensor: Any, n_bytes: int, folder: Path | None, owner: str) -> bytes:
    """Return the bytes of a tensor in another file, which has to be in the folder of the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ValueError(
            f"{owner} is in the external file {location!r}; give the path of the model instead of its content"
        )
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or n_bytes)
    except (ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{owner} has external data that cannot be located ({error}); {_NOT_ONNX}") from None
    if not location or Path(location).is_absolute() or not path.is_relative_to(root):
        raise ValueError(
            f"{owner} is in {location!r}, outside of the model's folder, which is not read; move the file there"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{owner} is in the external file {str(path)!r}, which is not a file; put it there")
    size = path.stat().st_size
    if offset < 0 or length != n_bytes or offset + length > size:
        raise ValueError(
            f"{owner} needs {n_bytes} bytes, but its external data are {length} bytes from byte {offset} on of "
            f"{path.name!r}, which has {size}; {_NOT_ONNX}"
        )
    memory.require(n_bytes, owner, "read the model on a larger machine")
    with path.open("rb") as file:
        file.seek(offset)
        data: bytes = file.read(length)
    return data


def sparse_array(tensor: Any, folder: Path | None, owner: str) -> Array:
    """Return the values of a SparseTensorProto as a dense array."""
    shape = tuple(int(n) for n in tensor.dims)
    if min(shape, default=0) < 0:
        raise ValueError(f"{owner} has the shape {shape}, with a negative size; {_NOT_ONNX}")
    values = tensor_array(tensor.values, folder, owner)
    indices = tensor_array(tensor.indices, folder, f"the indices of {owner}")
    n = math.prod(shape)
    if (
        values.ndim != 1
        or indices.dtype != np.int64
        or indices.shape not in ((len(values),), (len(values), len(shape)))
    ):
        raise ValueError(
            f"{owner} has values of shape {values.shape}, but indices of shape {indices.shape}; {_NOT_ONNX}"
        )
    limits = np.array([n] if indices.ndim == 1 else shape, dtype=object)
    if ((indices < 0) | (indices.reshape(len(values), -1) >= limits).reshape(indices.shape)).any():
        raise ValueError(f"{owner} of shape {shape} has indices from {indices.min()} to {indices.max()}; {_NOT_ONNX}")
    memory.require(n * values.dtype.itemsize, f"{owner} of shape {shape}", "read the model on a larger machine")
    dense = np.zeros(shape, dtype=values.dtype)
    dense[np.unravel_index(indices, shape) if indices.ndim == 1 else tuple(indices.T)] = values
    return dense


def initializers(graph: Any, folder: Path | None) -> dict[str, Array]:
    """Return the arrays that a graph has, by name."""
    arrays: dict[str, Array] = {}
    stored = [(t.name, t, tensor_array) for t in graph.initializer]
    stored += [(t.values.name, t, sparse_array) for t in graph.sparse_initializer]
    for name, tensor, read in stored:
        if name in arrays:
            raise ValueError(f"two initializers have the name {name!r}; rename one of them")
        arrays[name] = read(tensor, folder, f"initializer {name!r}")
        arrays[name].flags.writeable = False
    return arrays
