(* Theorem ring-folding: on a ring of n samples a kernel of any length acts as one of n taps. For all weights, channels,
   groups, strides, dilations, paddings and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_ring_folding.
Import ListNotations.
Open Scope Z_scope.

(* A ring with one kernel for all outputs, not reversed. *)
Definition ring_axis (a : axis) : Prop := axis_boundary a = circular /\ tile a = 1 /\ flip a = false /\ 1 <= n_samples a.
(* The same axis with n taps. *)
Definition folded_axis (a : axis) : axis :=
  Axis (n_outputs a) (n_samples a) (n_samples a) (stride a) (dilation a) (pad_low a) circular false 1.
(* The tap t mod n. *)
Definition folded_tap (a : axis) (t : Z) : Z := t mod n_samples a.
(* The kernel with n taps: at tap u, the sum of the weights of all taps t with t mod n = u on every axis. *)
Definition folded_weights {K : commutative_ring} (l : layer) (w : weights K) : weights K := fun o c =>
  moved_kernel (kernel_shape l) (each (map folded_tap (axes l))) (w o c).

Section Folding.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* The layer is the one with the folded kernels. With dilation 1 no two taps of a folded kernel read the same sample, so that
   its weights are the entries of the matrix. *)
Theorem ring_folding_theorem (l : layer) (w : weights K) : Forall ring_axis (axes l) ->
  (forall b x o i, within (output_shape l) i ->
    apply l w b x o i = apply (with_axes folded_axis l) (folded_weights l w) b x o i)
  /\ (Forall (fun a => dilation a = 1) (axes l) -> forall i t u, within (output_shape l) i ->
      within (input_shape l) t -> within (input_shape l) u ->
      samples (axes (with_axes folded_axis l)) i t = samples (axes (with_axes folded_axis l)) i u -> t = u)
  /\ (proper l -> Forall (fun a => dilation a = 1) (axes l) -> forall o c i t, 0 <= o < out_channels l ->
      0 <= c < group_inputs l -> within (output_shape l) i -> within (input_shape l) t ->
      entry (with_axes folded_axis l) (folded_weights l w) o i (input_channel l o c)
        (samples (axes (with_axes folded_axis l)) i t) = folded_weights l w o c t).
Proof.
  intro H.
  assert (Injective : Forall (fun a => dilation a = 1) (axes l) -> forall i t u, within (output_shape l) i ->
      within (input_shape l) t -> within (input_shape l) u ->
      samples (axes (with_axes folded_axis l)) i t = samples (axes (with_axes folded_axis l)) i u -> t = u).
  { unfold output_shape, input_shape, samples. simpl. intros D.
    induction H as [|a axes Ha H IH]; intros is ts us Hi Ht Hu; inversion Hi as [|? i ? is' Hi0 Hi1];
      inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl; [reflexivity|].
    inversion D as [|? ? Da D']; subst. intro E. injection E as E0 E1. f_equal; [|apply (IH D' is' ts' us' Hi1 Ht1 Hu1 E1)].
    destruct Ha as (_ & _ & _ & N). unfold folded_axis in E0. rewrite Da in E0.
    exact (ring_folding_single_taps _ _ _ _ i t u N Ht0 Hu0 E0). }
  split; [|split; [exact Injective|]].
  - intros b x o i Hi. rewrite (moved_layer folded_axis folded_tap (fun _ i => i)); [|clear Hi|exact Hi].
    + f_equal. unfold output_shape in Hi. revert i Hi. clear.
      induction (axes l) as [|a axes IH]; intros is Hi; inversion Hi; subst; simpl; [reflexivity|]. rewrite IH by assumption.
      reflexivity.
    + eapply Forall_impl; [|exact H]. intros a (B & T & F & N). split; [exact T|]. split; [reflexivity|].
      destruct a as [m n k s d p bd f g]. simpl in *. subst. intros i' t _ Ht.
      apply (ring_folding_folded m n k s d p i' t N Ht).
  - intros P D o c i t Ho Hc Hi Ht. unfold entry. change (group_inputs (with_axes folded_axis l)) with (group_inputs l).
    replace (kernel_shape (with_axes folded_axis l)) with (input_shape l)
      by (unfold kernel_shape, input_shape; simpl; rewrite map_map; reflexivity).
    rewrite (sum_single _ c); [|apply range_distinct|apply in_range; assumption|].
    2: { intros c' _ N. apply sum_zero. intros u _. change (input_channel (with_axes folded_axis l) o c') with (input_channel l o c').
         unfold input_channel. destruct (Z.eq_dec _ _); [lia|reflexivity]. }
    rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
    + destruct (Z.eq_dec _ _) as [_|N]; [|exfalso; apply N; reflexivity].
      destruct (same_place _ _) as [_|N]; [|congruence]. rewrite weight_index_untiled; [reflexivity| | |].
      * simpl. apply Forall_map, Forall_forall. reflexivity.
      * simpl. rewrite map_length. apply (shape_length n_outputs), Hi.
      * simpl. rewrite map_length. apply (shape_length n_samples), Ht.
    + intros u Hu N. apply in_grid in Hu. destruct (Z.eq_dec _ _); [|reflexivity].
      destruct (same_place _ _) as [E|]; [|reflexivity]. exfalso. apply N. apply (Injective D i u t Hi Hu Ht E).
Qed.
End Folding.
Print Assumptions ring_folding_theorem.
