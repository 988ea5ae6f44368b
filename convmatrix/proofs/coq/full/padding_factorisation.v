(* Theorem padding-factorisation: a padded layer is the valid layer after its input has been extended by the boundary. For all
   weights, channels, groups, tiles, strides, dilations, boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Extension Lemmas_padding_factorisation.
Import ListNotations.
Open Scope Z_scope.

(* One axis, by the lemmas. *)
Lemma valid_sample a high i t : fits a high -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  0 <= sample (valid_axis a high) i t < n_samples a + pad_low a + high
  /\ extended_sample a (sample (valid_axis a high) i t) = sample a i t.
Proof.
  intros F Hi Ht. rewrite (sample_unflipped a), (sample_unflipped (valid_axis a high)).
  change (true_tap (valid_axis a high) t) with (true_tap a t). apply true_tap_within in Ht. revert Ht. generalize (true_tap a t).
  destruct a as [m n k s d p b f g]. unfold fits, extended_sample, unflipped, valid_axis in *. simpl in *.
  destruct F as (N & S & D & W). intros u Hu.
  destruct (padding_factorisation_windows m n k s d p high i u S D Hi Hu W) as [R E].
  change (sample (Axis m (n + p + high) k s d 0 zero false g) i u) with (sample (Axis m (n + p + high) k s d 0 zero false 1) i u).
  change (sample (Axis m n k s d p b false g) i u) with (sample (Axis m n k s d p b false 1) i u).
  split; [exact R|]. rewrite E. destruct b.
  - apply padding_factorisation_zero_boundary; assumption.
  - apply padding_factorisation_circular_boundary; assumption.
  - apply padding_factorisation_reflect_boundary; assumption.
  - apply padding_factorisation_symmetric_boundary; assumption.
  - apply padding_factorisation_replicate_boundary; assumption.
Qed.

(* Every axis. *)
Lemma valid_samples l high i t : Forall2 fits (axes l) high -> within (output_shape l) i -> within (kernel_shape l) t ->
  within (input_shape (valid_layer l high)) (samples (axes (valid_layer l high)) i t)
  /\ present (samples (axes (valid_layer l high)) i t) = true
  /\ extended_samples (axes l) (samples (axes (valid_layer l high)) i t) = samples (axes l) i t
  /\ weight_index (axes (valid_layer l high)) i t = weight_index (axes l) i t.
Proof.
  unfold output_shape, kernel_shape, input_shape, valid_layer, samples, weight_index, extended_samples. simpl. intro H. revert i t.
  induction H as [|a h axes high F _ IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl.
  - repeat split. constructor.
  - destruct (IH is' ts' Hi1 Ht1) as (W & P & E & X). destruct (valid_sample a h i t F Hi0 Ht0) as [R S].
    rewrite P, E, X, S. split; [constructor; assumption|]. split; [|split; reflexivity].
    rewrite Bool.andb_true_r. apply Z.leb_le. lia.
Qed.

Section Factorisation.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* The layer is the valid layer, which has as many outputs, applied to the extended input; so its matrix is A = V E, where the
   entries of E are 0 and 1 and depend neither on the weights nor on channels. *)
Theorem padding_factorisation_theorem (l : layer) (high : list Z) (w : weights K) : Forall2 fits (axes l) high ->
  (forall b x o i, within (output_shape l) i -> apply l w b x o i = apply (valid_layer l high) w b (extended l x) o i)
  /\ (forall o i h j, within (output_shape l) i ->
      entry l w o i h j
      = sum (grid (input_shape (valid_layer l high))) (fun y => entry (valid_layer l high) w o i h y * extension l y j))%K
  /\ Forall2 (fun a p => forward_outputs (n_samples a) (dilation a * (n_taps a - 1) + 1) (stride a) (pad_low a) p
      = forward_outputs (n_samples a + pad_low a + p) (dilation a * (n_taps a - 1) + 1) (stride a) 0 0) (axes l) high.
Proof.
  intro H.
  assert (Kernel : kernel_shape (valid_layer l high) = kernel_shape l).
  { unfold kernel_shape, valid_layer. simpl. induction H as [|a h axes high _ _ IH]; simpl; congruence. }
  split; [|split].
  - intros b x o i Hi. unfold apply. f_equal. change (group_inputs (valid_layer l high)) with (group_inputs l).
    apply sum_ext. intros c _. rewrite Kernel. apply sum_ext. intros t Ht. apply in_grid in Ht.
    destruct (valid_samples l high i t H Hi Ht) as (_ & P & E & X). rewrite X. f_equal.
    unfold read at 2. rewrite P. unfold extended. rewrite E. reflexivity.
  - intros o i h j Hi. unfold entry. change (group_inputs (valid_layer l high)) with (group_inputs l). rewrite Kernel.
    transitivity (sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
      sum (grid (input_shape (valid_layer l high))) (fun y =>
        (if Z.eq_dec (input_channel l o c) h then if same_place (samples (axes (valid_layer l high)) i t) y
         then w o c (weight_index (axes (valid_layer l high)) i t) else 0 else 0) * extension l y j))))%K.
    + apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid in Ht.
      destruct (valid_samples l high i t H Hi Ht) as (W & _ & E & X).
      destruct (Z.eq_dec _ h); [|symmetry; apply sum_zero; intros; ring].
      rewrite (sum_single _ (samples (axes (valid_layer l high)) i t)); [|apply grid_distinct|apply in_grid; exact W|].
      * destruct (same_place _ _) as [_|] at 2; [|congruence]. unfold extension. rewrite E, X.
        destruct (same_place _ j); ring.
      * intros y _ N. destruct (same_place _ y); [congruence|ring].
    + transitivity (sum (range (group_inputs l)) (fun c => sum (grid (input_shape (valid_layer l high))) (fun y =>
        sum (grid (kernel_shape l)) (fun t =>
        (if Z.eq_dec (input_channel l o c) h then if same_place (samples (axes (valid_layer l high)) i t) y
         then w o c (weight_index (axes (valid_layer l high)) i t) else 0 else 0) * extension l y j))))%K.
      * apply sum_ext. intros c _. apply sum_swap.
      * rewrite sum_swap. apply sum_ext. intros y _. rewrite <- sum_scale_right. apply sum_ext. intros c _.
        apply sum_scale_right.
  - clear Kernel. induction H as [|a h axes high F _ IH]; constructor; [|exact IH].
    apply padding_factorisation_outputs, F.
Qed.
End Factorisation.
Print Assumptions padding_factorisation_theorem.
