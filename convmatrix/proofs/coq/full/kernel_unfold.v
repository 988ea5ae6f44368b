(* Theorem kernel-unfold: A(w) = (W (x) I) U. For all weights and channels, in one group, and any number of axes, strides,
   dilations, paddings and boundaries. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Tensor Lemmas_kernel_unfold.
Import ListNotations.
Open Scope Z_scope.

(* The rows of the unfold matrix: input channel, tap and output. *)
Definition unfolded (l : layer) : list ((Z * list Z) * list Z) :=
  list_prod (list_prod (range (in_channels l)) (grid (kernel_shape l))) (grid (output_shape l)).
(* The kernel as a matrix W with one row per output channel and one column per input channel and tap. *)
Definition kernel_matrix {K} (w : weights K) (o : Z) (ct : Z * list Z) : K := w o (fst ct) (snd ct).
(* The Kronecker product W (x) I with the identity of the outputs: in row (o, i) and column (q, i'), W at (o, q) if i = i'. *)
Definition kernel_and_identity {K : commutative_ring} (w : weights K) (o : Z) (i : list Z) (q : (Z * list Z) * list Z) : K :=
  if same_place i (snd q) then kernel_matrix w o (fst q) else 0%K.
(* The unfold matrix U: in row (c, t, i), a 1 at the sample of channel c that tap t of output i reads; it does not depend on w. *)
Definition unfold_matrix {K : commutative_ring} (l : layer) (q : (Z * list Z) * list Z) (h : Z) (j : list Z) : K :=
  if Z.eq_dec (fst (fst q)) h then if same_place (samples (axes l) (snd q) (snd (fst q))) j then 1%K else 0%K else 0%K.

Section Unfold.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* The matrix of a layer is the product of W (x) I and U; its transpose is the product of the transposes, U^T (W^T (x) I). And
   rows are numbered as in the package: with k taps and m outputs in all, row ((c k + t) m + i) of U has one c, t and i. *)
Theorem kernel_unfold_theorem (l : layer) (w : weights K) :
  groups l = 1 -> Forall (fun a => tile a = 1) (axes l) ->
  (forall o i h j, 0 <= o < out_channels l -> within (output_shape l) i ->
    entry l w o i h j = sum (unfolded l) (fun q => kernel_and_identity w o i q * unfold_matrix l q h j))%K
  /\ (forall (g : array K) h j,
      sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => entry l w o i h j * g o i))
      = sum (unfolded l) (fun q => unfold_matrix l q h j
          * sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => kernel_and_identity w o i q * g o i))))%K
  /\ (forall m k c t i c' t' i', 0 <= t < k -> 0 <= t' < k -> 0 <= i < m -> 0 <= i' < m ->
      (c * k + t) * m + i = (c' * k + t') * m + i' -> c = c' /\ t = t' /\ i = i').
Proof.
  intros G U.
  assert (E : forall o i h j, 0 <= o < out_channels l -> within (output_shape l) i ->
    entry l w o i h j = sum (unfolded l) (fun q => kernel_and_identity w o i q * unfold_matrix l q h j)%K).
  { intros o i h j Ho Hi. unfold unfolded. rewrite !sum_pairs. unfold entry, group_inputs, input_channel, group_outputs, group_inputs.
    rewrite G, !Z.div_1_r, Z.div_small by assumption. apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid in Ht.
    rewrite (sum_single _ i); [|apply grid_distinct|apply in_grid; assumption|].
    - unfold kernel_and_identity, unfold_matrix, kernel_matrix. simpl. destruct (same_place i i) as [_|]; [|congruence].
      rewrite weight_index_untiled; [|exact U|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Ht].
      replace (0 * in_channels l + c) with c by lia. destruct (Z.eq_dec c h); [destruct (same_place _ j)|]; ring.
    - intros i' _ N. unfold kernel_and_identity. simpl. destruct (same_place i i'); [congruence|ring]. }
  split; [exact E|]. split.
  - intros g h j.
    transitivity (sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => sum (unfolded l) (fun q =>
      unfold_matrix l q h j * (kernel_and_identity w o i q * g o i)))))%K.
    + apply sum_ext. intros o Ho. apply in_range in Ho. apply sum_ext. intros i Hi. apply in_grid in Hi.
      rewrite E by assumption. rewrite <- sum_scale_right. apply sum_ext. intros q _. ring.
    + transitivity (sum (range (out_channels l)) (fun o => sum (unfolded l) (fun q => sum (grid (output_shape l)) (fun i =>
        unfold_matrix l q h j * (kernel_and_identity w o i q * g o i)))))%K.
      * apply sum_ext. intros o _. apply sum_swap.
      * rewrite sum_swap. apply sum_ext. intros q _. rewrite <- sum_scale. apply sum_ext. intros o _. apply sum_scale.
  - intros m k c t i c' t' i' Ht Ht' Hi Hi' Q.
    destruct (kernel_unfold_one_block m (c * k + t) (c' * k + t') i i' Hi Hi' Q) as [Q' ->].
    destruct (kernel_unfold_one_block k c c' t t' Ht Ht' Q') as [-> ->]. auto.
Qed.
End Unfold.
Print Assumptions kernel_unfold_theorem.
