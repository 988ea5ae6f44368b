(* The input of a layer extended by its boundary, and the layer without padding on it. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra.
Import ListNotations.
Open Scope Z_scope.

(* The layer without padding on n + p_l + p_h samples, given the paddings p_h at the high end of each axis. *)
Definition valid_axis (a : axis) (high : Z) : axis :=
  Axis (n_outputs a) (n_samples a + pad_low a + high) (n_taps a) (stride a) (dilation a) 0 zero (flip a) (tile a).
Definition valid_layer (l : layer) (high : list Z) : layer :=
  Layer (pairwise valid_axis (axes l) high) (groups l) (in_channels l) (out_channels l).
(* The window of each output ends inside the extended input. *)
Definition fits (a : axis) (high : Z) : Prop := 1 <= n_samples a /\ 1 <= stride a /\ 1 <= dilation a
  /\ (n_outputs a - 1) * stride a + dilation a * (n_taps a - 1) + 1 <= n_samples a + pad_low a + high.

(* The sample at place y of the extended input: what the boundary reads at y - p_l, on each axis. *)
Definition extended_sample (a : axis) (y : Z) : Z := read_sample (axis_boundary a) (y - pad_low a) (n_samples a).
Definition extended_samples (axes : list axis) : list Z -> list Z := pairwise extended_sample axes.
(* The extension as a matrix E with entries 0 and 1, and the extended input. *)
Definition extension {K : commutative_ring} (l : layer) (y j : list Z) : K :=
  if same_place (extended_samples (axes l) y) j then 1%K else 0%K.
Definition extended {K : commutative_ring} (l : layer) (x : array K) : array K := fun h y =>
  read (x h) (extended_samples (axes l) y).
