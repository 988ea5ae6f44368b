"""SciPy: the functions of `scipy.signal` and `scipy.ndimage` that are convolutions, for one channel and one sample.

They place the kernel differently: "same" of `scipy.signal` is the centre of the full output, which for even kernels
puts the odd sample of padding at the low end, except for `correlate2d`, whose notes say so; `scipy.ndimage` has an
origin, and `upfirdn` is full with a stride.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from convmatrix.boundary import BOUNDARIES
from convmatrix.conformance.offers import Offers
from convmatrix.conformance.targets import TargetCall, TargetLibrary, call_text, load_package, unless

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.rounding import Rounding

_MODES: Final = {"valid": "valid", "same": "same", "same_lower": "same", "full": "full"}
_SIGNAL: Final = ("valid", "same_lower", "full")
_CORRELATE2D: Final = ("valid", "same", "full")
_CONVOLVE2D: Final = {"zero": "fill", "circular": "wrap", "symmetric": "symm"}
_NDIMAGE: Final = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
}
_UPFIRDN: Final = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "antireflect": "antireflect",
    "antisymmetric": "antisymmetric",
}
_FLOATS: Final = ("float64", "float32")


def scipy_target() -> TargetLibrary:
    """Return SciPy as a target.

    Examples
    --------
    >>> len(scipy_target().calls)
    14
    """
    scipy = load_package("scipy", "the target scipy")
    methods, by_fft = {"method": ("direct", "auto")}, {"method": ("fft",)}
    calls = (
        _call("scipy.signal.correlate", _signal, _offers(settings=methods)),
        _call("scipy.signal.convolve", _signal, _offers(flip=True, settings=methods)),
        _call("scipy.signal.correlate, fft", _signal, _offers(settings=by_fft, dtypes=_FLOATS), "fft"),
        _call("scipy.signal.convolve, fft", _signal, _offers(flip=True, settings=by_fft, dtypes=_FLOATS), "fft"),
        _call("scipy.signal.fftconvolve", _plain_mode, _offers(flip=True, dtypes=_FLOATS), "fft"),
        _call("scipy.signal.oaconvolve", _plain_mode, _offers(flip=True, dtypes=_FLOATS), "fft"),
        _call("scipy.signal.correlate2d", _with_boundary, _offers((2,), _CORRELATE2D, boundaries=_CONVOLVE2D)),
        _call("scipy.signal.convolve2d", _with_boundary, _offers((2,), flip=True, boundaries=_CONVOLVE2D)),
        _call("scipy.ndimage.correlate", _ndimage, _offers(paddings=("centred",), boundaries=_NDIMAGE)),
        _call("scipy.ndimage.convolve", _ndimage, _offers(paddings=("centred",), flip=True, boundaries=_NDIMAGE)),
        _call("scipy.ndimage.correlate1d", _ndimage, _offers((1,), paddings=("centred",), boundaries=_NDIMAGE)),
        _call("scipy.ndimage.convolve1d", _ndimage, _offers((1,), ("centred",), flip=True, boundaries=_NDIMAGE)),
        _call(
            "scipy.signal.upfirdn, down",
            _downsampled,
            _offers((1,), ("full",), flip=True, boundaries=_UPFIRDN, stride=True),
        ),
        _call("scipy.signal.upfirdn, up", _upsampled, _offers((1,), ("valid",), transposed=True, stride=True)),
    )
    return TargetLibrary("scipy", calls, {"scipy": scipy.__version__})


def _call(
    name: str, statement: Callable[[str, LayerCase], str], offers: Offers, rounding: Rounding = "exact"
) -> TargetCall:
    function = name.split()[0].rstrip(",")
    module = function.rpartition(".")[0]
    return TargetCall(
        name=name,
        offers=offers,
        imports=f"import numpy as np\nimport {module}\n",
        statements=lambda case, _: f"y = {statement(function, case)}[None, None]",
        rounding=rounding,
    )


def _offers(
    axes: tuple[int, ...] = (1, 2, 3),
    paddings: tuple[str, ...] = _SIGNAL,
    *,
    flip: bool = False,
    boundaries: Any = ("zero",),
    stride: bool = False,
    transposed: bool = False,
    dtypes: tuple[str, ...] = (*_FLOATS, "int64", "int32"),
    settings: Any = None,
) -> Offers:
    known: tuple[Boundary, ...] = tuple(boundary for boundary in BOUNDARIES if boundary in boundaries)
    return Offers(
        axes=axes,
        switches=frozenset(("stride",) if stride else ()),
        paddings=paddings,
        boundaries=known,
        flips=(flip,),
        transposed=(transposed,),
        dtypes=dtypes,
        settings=settings or {},
        accepts=_accepts,
    )


def _accepts(case: LayerCase) -> bool:
    """Return whether the documentation defines the result for a layer.

    "valid" swaps the arguments where the second is larger. The method that SciPy chooses may round unless the type is
    an integer.
    """
    if dict(case.settings).get("method") == "auto" and not case.dtype.startswith("int"):
        return False
    fits = all(k <= n for k, n in zip(case.kernel_shape, case.input_shape, strict=True))
    return case.transposed or case.padding != "valid" or fits


def _plain_mode(function: str, case: LayerCase, **options: Any) -> str:
    return call_text(function, "x[0, 0]", "w[0, 0]", mode=unless("full", _MODES[str(case.padding)]), **options)


def _signal(function: str, case: LayerCase) -> str:
    return _plain_mode(function, case, method=case.setting("method"))


def _with_boundary(function: str, case: LayerCase) -> str:
    return _plain_mode(function, case, boundary=unless("fill", _CONVOLVE2D[case.boundary[0]]))


def _ndimage(function: str, case: LayerCase) -> str:
    """Return a call with the origin that gives the padding: low = k // 2 + origin, mirrored for convolutions."""
    origin = []
    for taps, (low, _) in zip(case.kernel_shape, case.geometry.padding, strict=True):
        origin.append((taps - 1) // 2 - low if case.flip else low - taps // 2)
    one = function.endswith("1d")
    shift: Any = origin[0] if one else tuple(origin)
    mode = unless("reflect", _NDIMAGE[case.boundary[0]])
    return call_text(function, "x[0, 0]", "w[0, 0]", mode=mode, origin=unless(0, shift))


def _downsampled(function: str, case: LayerCase) -> str:
    mode = unless("constant", _UPFIRDN[case.boundary[0]])
    return call_text(function, "w[0, 0]", "x[0, 0]", down=unless(1, case.stride[0]), mode=mode)


def _upsampled(function: str, case: LayerCase) -> str:
    return call_text(function, "w[0, 0]", "x[0, 0]", up=unless(1, case.stride[0]))
