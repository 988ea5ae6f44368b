(* Theorem short-axes: on one sample all boundaries but zero read that sample everywhere; on two samples reflect is circular.
   For all weights, channels, groups, tiles, strides, dilations, paddings and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_short_axes.
Import ListNotations.
Open Scope Z_scope.

Definition one_sample (a : axis) : Prop := n_samples a = 1 /\ axis_boundary a <> zero.
(* The axis with circular for reflect, if it has two samples. *)
Definition circular_for_reflect (a : axis) : axis :=
  Axis (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a)
    (match axis_boundary a with reflect => if n_samples a =? 2 then circular else reflect | b => b end) (flip a) (tile a).

Section Short.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* A layer whose axes have one sample each, and not the zero boundary, multiplies that sample of each input channel by the sum
   of the weights that the output uses. And on axes with two samples, reflect may be replaced by circular. *)
Theorem short_axes_theorem (l : layer) (w : weights K) b x o i : within (output_shape l) i ->
  (Forall one_sample (axes l) -> apply l w b x o i
    = b o + sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t => w o c (weight_index (axes l) i t))
        * x (input_channel l o c) (map (fun _ => 0%Z) (axes l))))%K
  /\ apply l w b x o i = apply (with_axes circular_for_reflect l) w b x o i.
Proof.
  intro Hi. split.
  - intro H. unfold apply. f_equal. apply sum_ext. intros c _. rewrite <- sum_scale_right. apply sum_ext. intros t Ht.
    apply in_grid in Ht. f_equal. unfold read. rewrite always_present.
    + f_equal. unfold samples, output_shape, kernel_shape in *. revert i t Hi Ht.
      induction H as [|a axes [N B] H IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
        inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [reflexivity|].
      rewrite IH by assumption. f_equal. unfold sample. rewrite N. destruct (axis_boundary a); [congruence| | | |].
      * apply short_axes_circular_one_sample.
      * apply short_axes_reflect_one_sample.
      * apply short_axes_symmetric_one_sample.
      * apply short_axes_replicate_one_sample.
    + eapply Forall_impl; [|exact H]. intros a [N B]. split; [lia | exact B].
  - rewrite (same_taps circular_for_reflect (fun _ i => i)); [|apply Forall_forall|exact Hi].
    + f_equal. unfold output_shape in Hi. revert i Hi. clear. induction (axes l) as [|a axes IH]; intros is Hi;
        inversion Hi; subst; simpl; [reflexivity|]. rewrite IH by assumption. reflexivity.
    + intros a _. split; [reflexivity|]. intros i' t _ _. split; [|reflexivity].
      unfold sample, circular_for_reflect. simpl. destruct (axis_boundary a); try reflexivity.
      destruct (Z.eqb_spec (n_samples a) 2) as [E|]; [|reflexivity]. rewrite E. apply short_axes_two_samples.
Qed.
End Short.
Print Assumptions short_axes_theorem.
