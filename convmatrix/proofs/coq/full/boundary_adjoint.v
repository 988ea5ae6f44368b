(* Theorem boundary-adjoint: the adjoint of a padded layer is the adjoint of the valid one, whose result at each place of the
   extended input is added to the sample that is read there. For all weights, channels, groups, tiles, strides, dilations,
   boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Extension Full_padding_factorisation Lemmas_boundary_adjoint.
Import ListNotations.
Open Scope Z_scope.

(* The product of the transposed matrix with an array g of the shape of the outputs, at sample j of input channel h. *)
Definition transposed_product {K : commutative_ring} (l : layer) (w : weights K) (g : array K) (h : Z) (j : list Z) : K :=
  sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => entry l w o i h j * g o i))%K.

(* Position x reads sample j of n samples. *)
Definition reads (b : boundary) (x n j : Z) : Prop :=
  match b with
  | zero => x = j
  | circular => (x - j) mod n = 0
  | reflect => let period := if 1 <? n then 2 * n - 2 else 1 in (x - j) mod period = 0 \/ (x + j) mod period = 0
  | symmetric => (x - j) mod (2 * n) = 0 \/ (x + j + 1) mod (2 * n) = 0
  | replicate => x = j \/ (j = 0 /\ x < 0) \/ (j = n - 1 /\ n <= x)
  end.
(* The same on each axis, for place y of the extended input, whose position is y - p_l. *)
Fixpoint reads_on_axes (axes : list axis) (y j : list Z) : Prop :=
  match axes, y, j with
  | a :: axes, y0 :: y, j0 :: j => reads (axis_boundary a) (y0 - pad_low a) (n_samples a) j0 /\ reads_on_axes axes y j
  | _, _, _ => True
  end.

Lemma reads_sample b x n j : 0 <= j < n -> (read_sample b x n = j <-> reads b x n j).
Proof.
  intro Hj. destruct b.
  - apply boundary_adjoint_zero_boundary, Hj.
  - apply boundary_adjoint_circular_boundary, Hj.
  - apply boundary_adjoint_reflect_boundary, Hj.
  - apply boundary_adjoint_symmetric_boundary, Hj.
  - apply boundary_adjoint_replicate_boundary, Hj.
Qed.

Lemma reads_samples axes y j : length y = length axes -> within (map n_samples axes) j ->
  (extended_samples axes y = j <-> reads_on_axes axes y j).
Proof.
  unfold extended_samples. revert y j. induction axes as [|a axes IH]; intros [|y0 y] j L Hj; simpl in L; try discriminate;
    inversion Hj as [|? j0 ? js Hj0 Hj1]; subst; simpl; [tauto|].
  rewrite <- IH by (assumption || lia). rewrite <- reads_sample by assumption. unfold extended_sample.
  split; [intro E; injection E; auto | intros [-> ->]; reflexivity].
Qed.

Section Adjoint.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* A^T g is E^T V^T g: at sample j the sum of what V^T g has at all places of the extended input that are read at j, and these
   are the places listed in reads. *)
Theorem boundary_adjoint_theorem (l : layer) (high : list Z) (w : weights K) : Forall2 fits (axes l) high ->
  (forall (g : array K) h j, transposed_product l w g h j
    = sum (grid (input_shape (valid_layer l high))) (fun y =>
        extension l y j * transposed_product (valid_layer l high) w g h y))%K
  /\ (forall y j, within (input_shape (valid_layer l high)) y -> within (input_shape l) j ->
      (reads_on_axes (axes l) y j -> extension l y j = 1%K :> K) /\ (~ reads_on_axes (axes l) y j -> extension l y j = 0%K :> K)).
Proof.
  intro H. destruct (padding_factorisation_theorem l high w H) as (_ & Factor & _). split.
  - intros g h j. unfold transposed_product at 1.
    transitivity (sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i =>
      sum (grid (input_shape (valid_layer l high))) (fun y => extension l y j * (entry (valid_layer l high) w o i h y * g o i)))))%K.
    + apply sum_ext. intros o _. apply sum_ext. intros i Hi. apply in_grid in Hi. rewrite Factor by assumption.
      rewrite <- sum_scale_right. apply sum_ext. intros y _. ring.
    + transitivity (sum (range (out_channels l)) (fun o => sum (grid (input_shape (valid_layer l high))) (fun y =>
        sum (grid (output_shape l)) (fun i => extension l y j * (entry (valid_layer l high) w o i h y * g o i)))))%K.
      * apply sum_ext. intros o _. apply sum_swap.
      * rewrite sum_swap. apply sum_ext. intros y _. unfold transposed_product. rewrite <- sum_scale.
        change (out_channels (valid_layer l high)) with (out_channels l). apply sum_ext. intros o _.
        rewrite <- sum_scale. replace (output_shape (valid_layer l high)) with (output_shape l); [reflexivity|].
        unfold output_shape, valid_layer. simpl. clear - H. induction H as [|a p axes high _ _ IH]; simpl; congruence.
  - intros y j Hy Hj.
    assert (L : length y = length (axes l)).
    { apply within_length in Hy. rewrite Hy. unfold input_shape, valid_layer. simpl. rewrite map_length. clear - H.
      induction H as [|a p axes high _ _ IH]; simpl; congruence. }
    pose proof (reads_samples (axes l) y j L Hj) as R. unfold extension.
    destruct (same_place _ j) as [E|E]; split; intro N; try reflexivity; exfalso; tauto.
Qed.
End Adjoint.
Print Assumptions boundary_adjoint_theorem.
