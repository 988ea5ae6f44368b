(* Theorem dilation-as-zeros: a convolution with dilation d is the one with dilation 1 whose kernel has d - 1 zeros between
   neighbouring taps. For all weights, channels, groups, strides, paddings, boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_dilation_as_zeros.
Import ListNotations.
Open Scope Z_scope.

(* One kernel for all outputs. *)
Definition dilated_axis (a : axis) : Prop := 1 <= n_samples a /\ 1 <= dilation a /\ tile a = 1.
(* The axis with dilation 1 and d (k - 1) + 1 taps. *)
Definition spread_axis (a : axis) : axis :=
  Axis (n_outputs a) (n_samples a) (dilation a * (n_taps a - 1) + 1) (stride a) 1 (pad_low a) (axis_boundary a) (flip a) 1.
(* Place d t in the longer kernel. *)
Definition spread_tap (a : axis) (t : Z) : Z := dilation a * t.
(* The kernel that has w_t at place d t, and zeros between. *)
Definition spread_weights {K : commutative_ring} (l : layer) (w : weights K) : weights K := fun o c =>
  moved_kernel (kernel_shape l) (each (map spread_tap (axes l))) (w o c).

(* One axis, by the lemmas. *)
Lemma spread_sample a i t : dilated_axis a -> 0 <= t < n_taps a ->
  0 <= spread_tap a t < n_taps (spread_axis a) /\ sample a i t = sample (spread_axis a) i (spread_tap a t).
Proof.
  destruct a as [m n k s d p b f g]. unfold dilated_axis, spread_tap, spread_axis. simpl. intros (N & D & ->) Ht.
  split; [nia|]. destruct f.
  - unfold sample. f_equal. pose proof (dilation_as_zeros_flipped m n k s d p i t) as E.
    unfold position in *. simpl in *. exact E.
  - destruct b.
    + apply dilation_as_zeros_zero_boundary; assumption.
    + apply dilation_as_zeros_circular_boundary; assumption.
    + apply dilation_as_zeros_reflect_boundary; assumption.
    + apply dilation_as_zeros_symmetric_boundary; assumption.
    + apply dilation_as_zeros_replicate_boundary; assumption.
Qed.

Section Dilation.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* The layer is the one with dilation 1 and the spread kernels, which have w_t at place d t, and zero at the other places. Both
   have as many outputs and span as many samples. *)
Theorem dilation_as_zeros_theorem (l : layer) (w : weights K) : Forall dilated_axis (axes l) ->
  (forall b x o i, within (output_shape l) i ->
    apply l w b x o i = apply (with_axes spread_axis l) (spread_weights l w) b x o i)
  /\ (forall o c t, within (kernel_shape l) t -> spread_weights l w o c (each (map spread_tap (axes l)) t) = w o c t)
  /\ (forall o c y, (forall t, within (kernel_shape l) t -> each (map spread_tap (axes l)) t <> y) ->
      spread_weights l w o c y = 0%K)
  /\ Forall (fun a => 1 * (n_taps (spread_axis a) - 1) + 1 = dilation a * (n_taps a - 1) + 1) (axes l).
Proof.
  intro H. split; [|split; [|split]].
  - intros b x o i Hi. rewrite (moved_layer spread_axis spread_tap (fun _ i => i)); [|clear Hi|exact Hi].
    + f_equal. unfold output_shape in Hi. revert i Hi. clear.
      induction (axes l) as [|a axes IH]; intros is Hi; inversion Hi; subst; simpl; [reflexivity|]. rewrite IH by assumption.
      reflexivity.
    + eapply Forall_impl; [|exact H]. intros a A. split; [apply A|]. split; [reflexivity|].
      intros i' t _ Ht. apply spread_sample; assumption.
  - intros o c t Ht. apply moved_kernel_at; [exact Ht|]. unfold kernel_shape in *. revert t Ht.
    induction H as [|a axes (_ & D & _) H IH]; intros ts Ht us Hu; inversion Ht as [|? t ? ts' Ht0 Ht1];
      inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl; [reflexivity|].
    intro E. injection E as E0 E1. f_equal; [|apply (IH ts' Ht1 us' Hu1 E1)]. unfold spread_tap in E0.
    apply (dilation_as_zeros_places (n_taps a) (dilation a) 0 u t D Hu0 Ht0). unfold weight. simpl. rewrite E0. reflexivity.
  - intros o c y N. apply moved_kernel_elsewhere, N.
  - apply Forall_forall. intros a _. unfold spread_axis. cbn [n_taps]. ring.
Qed.
End Dilation.
Print Assumptions dilation_as_zeros_theorem.
