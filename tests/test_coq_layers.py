"""The definition of a layer in Coq: its matrix is the one that convmatrix builds."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import SIGNED
from convmatrix.proofs.coq_rule import rule_text

if TYPE_CHECKING:
    from pathlib import Path

BASE = 97
"""Weights are numerals in this base, whose digits are the indices of the weight."""

LAYERS = (
    cm.ConvGeometry(5, 3, stride=2, padding=[(2, 1)], boundary="reflect"),
    cm.ConvGeometry(6, 2, padding=[(1, 0)], boundary="circular", sharing=(3,), in_channels=2, flip=True),
    cm.ConvGeometry(3, 5, dilation=2, padding="same", boundary="symmetric", out_channels=2),
    cm.ConvGeometry(
        input_shape=(3, 4),
        kernel_shape=(2, 3),
        stride=(1, 2),
        padding="same",
        boundary=("replicate", "zero"),
        in_channels=4,
        out_channels=2,
        groups=2,
    ),
    cm.ConvGeometry((2, 1, 2), (2, 2, 1), padding="full", in_channels=2, out_channels=4, groups=2, flip=True),
)
SIGNED_LAYERS = (
    cm.ConvGeometry(4, 3, stride=2, padding=[(2, 3)], boundary="antireflect", flip=True),
    cm.ConvGeometry(2, 2, padding=[(5, 4)], boundary="antireflect", sharing=(2,)),
    cm.ConvGeometry(1, 2, padding=1, boundary="antireflect", out_channels=2),
    cm.ConvGeometry(3, 2, padding=[(4, 3)], boundary="antisymmetric", in_channels=2, out_channels=2, groups=2),
    cm.ConvGeometry((3, 2), (2, 2), padding=[(2, 0), (1, 1)], boundary=("antireflect", "zero"), in_channels=2),
    cm.ConvGeometry((2, 3), (1, 2), padding=1, boundary=("antisymmetric", "antireflect")),
)
"""Layers of which some axes read samples with coefficients."""


def weights(layer: cm.ConvGeometry) -> np.ndarray:
    """Return the weight of each output channel, channel of its group and index on each axis, as a numeral."""
    n = len(layer.kernel_shape)
    channels_of_group = layer.in_channels // layer.groups
    shape = (*layer.tile, layer.out_channels, channels_of_group, *layer.kernel_shape)
    values = np.zeros(shape, dtype=np.int64)
    for place in itertools.product(*map(range, values.shape)):
        kernel, channels, tap = place[:n], place[n : n + 2], place[n + 2 :]
        number = 1
        for digit in (*channels, *(k * size + t for k, size, t in zip(kernel, layer.kernel_shape, tap, strict=True))):
            number = number * BASE + digit
        values[place] = number
    return values.reshape(layer.weight_shape)


def in_coq(layer: cm.ConvGeometry, matrix: np.ndarray) -> str:
    """Return the claim in Gallina that the layer has this matrix."""
    axes = "; ".join(
        f"Axis {a.n_outputs} {a.n_samples} {a.n_taps} {a.stride} {a.dilation} {a.pad_low} "
        f"{'zero' if a.boundary in SIGNED else a.boundary} {str(a.flip).lower()} {a.tile}"
        for a in layer.axes
    )
    term = f"(Layer [{axes}] {layer.groups} {layer.in_channels} {layer.out_channels})"
    numbers = "; ".join(map(str, matrix.ravel().tolist()))
    found = f"entries {term}"
    if set(layer.boundary) & set(SIGNED):
        continuations = "; ".join(f"{'signed' if b in SIGNED else 'plain'} {b}" for b in layer.boundary)
        found = f"signed_entries {term} [{continuations}]"
    return f"Goal {found} = [{numbers}].\nProof. vm_compute. reflexivity. Qed.\n"


ENTRIES = f"""\
From Coq Require Import ZArith List.
From Convmatrix Require Import Sums Rule Layers Signed.
Import ListNotations.
Open Scope Z_scope.
Definition numeral : weights integers := fun o c v => fold_left (fun a digit => a * {BASE} + digit) (o :: c :: v) 1.
Definition places (channels : Z) (shape : list Z) : list (Z * list Z) := list_prod (range channels) (grid shape).
Definition entries (l : layer) : list Z :=
  flat_map (fun row => map (fun column => entry l numeral (fst row) (snd row) (fst column) (snd column))
    (places (in_channels l) (input_shape l))) (places (out_channels l) (output_shape l)).
Definition one_at (channel : Z) (place : list Z) : array integers := fun h j =>
  if Z.eq_dec h channel then if same_place j place then 1 else 0 else 0.
Definition signed_entries (l : layer) (cs : list continuation) : list Z :=
  flat_map (fun row => map (fun column =>
    apply_continued l cs numeral no_bias (one_at (fst column) (snd column)) (fst row) (snd row))
    (places (in_channels l) (input_shape l))) (places (out_channels l) (output_shape l)).
"""


@pytest.mark.skipif(shutil.which("coqc") is None, reason="needs coqc, Debian's package coq")
def test_a_layer_in_coq_has_the_matrix_of_the_package(tmp_path: Path) -> None:
    library = resources.files("convmatrix.proofs") / "coq"
    files = ("Sums", "Layers", "Signed")
    sources = {"Rule": rule_text(), **{name: (library / f"{name}.v").read_text("utf-8") for name in files}}
    layers = (*LAYERS, *SIGNED_LAYERS)
    matrices = [cm.conv_matrix(weights(layer), layer).toarray() for layer in layers]
    sources["Right"] = ENTRIES + "".join(itertools.starmap(in_coq, zip(layers, matrices, strict=True)))
    for name, place in (("Wrong", 0), ("WrongSigned", len(LAYERS))):
        matrices[place][0, 0] += 1
        sources[name] = ENTRIES + in_coq(layers[place], matrices[place])
    for name, text in sources.items():
        (tmp_path / f"{name}.v").write_text(text, "utf-8")
        command = ["coqc", "-q", "-Q", ".", "Convmatrix", f"{name}.v"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == name.startswith("Wrong"), done.stderr
