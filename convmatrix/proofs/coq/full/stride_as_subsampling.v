(* Theorem stride-as-subsampling: a convolution with stride s is every s-th output of the one with stride 1. For all weights,
   channels, groups, dilations, paddings, boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_stride_as_subsampling.
Import ListNotations.
Open Scope Z_scope.

(* One kernel for all outputs. *)
Definition strided_axis (a : axis) : Prop := 1 <= n_samples a /\ 1 <= stride a /\ tile a = 1.
(* The axis with stride 1, and all outputs up to the last one that is kept. *)
Definition dense_axis (a : axis) : axis :=
  Axis (stride a * (n_outputs a - 1) + 1) (n_samples a) (n_taps a) 1 (dilation a) (pad_low a) (axis_boundary a) (flip a) 1.
(* Output s i on each axis. *)
Definition every_sth (l : layer) : list Z -> list Z := each (map (fun a i => stride a * i) (axes l)).

(* One axis, by the lemmas. *)
Lemma dense_sample a i t : strided_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  sample a i t = sample (dense_axis a) (stride a * i) t.
Proof.
  intros A Hi Ht. rewrite sample_unflipped, (sample_unflipped (dense_axis a)).
  change (true_tap (dense_axis a) t) with (true_tap a t). apply true_tap_within in Ht. revert Ht. generalize (true_tap a t).
  destruct a as [m n k s d p b f g]. unfold strided_axis, unflipped, dense_axis in *. simpl in *. destruct A as (N & S & ->).
  intros u Hu. destruct b.
  - apply stride_as_subsampling_zero_boundary; assumption.
  - apply stride_as_subsampling_circular_boundary; assumption.
  - apply stride_as_subsampling_reflect_boundary; assumption.
  - apply stride_as_subsampling_symmetric_boundary; assumption.
  - apply stride_as_subsampling_replicate_boundary; assumption.
Qed.

(* Output i of the layer is output s i of the layer with stride 1, which has such an output, and the same kernels; so row i of
   its matrix is row s i. With the same paddings, low and high, the output s y exists with stride 1 exactly if y does with
   stride s: no other outputs are left out. *)
Theorem stride_as_subsampling_theorem (K : commutative_ring) (l : layer) (w : weights K) : Forall strided_axis (axes l) ->
  (forall i, within (output_shape l) i ->
    within (output_shape (with_axes dense_axis l)) (every_sth l i)
    /\ (forall b x o, apply l w b x o i = apply (with_axes dense_axis l) w b x o (every_sth l i))
    /\ (forall o h j, entry l w o i h j = entry (with_axes dense_axis l) w o (every_sth l i) h j))
  /\ (forall a low high y, In a (axes l) -> let span := dilation a * (n_taps a - 1) + 1 in
    0 <= stride a * y < forward_outputs (n_samples a) span 1 low high
    <-> 0 <= y < forward_outputs (n_samples a) span (stride a) low high).
Proof.
  intro H. split.
  2: { intros a low high y I span. apply (proj1 (Forall_forall _ _) H) in I. destruct I as (_ & S & _).
       pose proof (stride_as_subsampling_outputs (n_samples a) (n_taps a) (stride a) (dilation a) low high S) as [E F].
       fold span in E, F. nia. }
  intros i Hi.
  assert (W : forall a i t, strided_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
    weight a i t = weight (dense_axis a) (stride a * i) t).
  { intros a i0 t (_ & S & T) _ _. unfold weight. rewrite T. simpl. rewrite !Z.mod_1_r. reflexivity. }
  split; [|split].
  - unfold every_sth, output_shape, with_axes in *. simpl. rewrite map_map. revert i Hi.
    induction H as [|a axes (N & S & _) H IH]; intros is Hi; inversion Hi as [|? i ? is' Hi0 Hi1]; subst; constructor; simpl.
    + nia.
    + apply IH, Hi1.
  - intros b x o. apply (same_taps dense_axis (fun a i => stride a * i)); [|exact Hi].
    eapply Forall_impl; [|exact H]. intros a A. split; [reflexivity|]. intros i0 t Hi0 Ht.
    split; [apply dense_sample | apply W]; assumption.
  - intros o h j. unfold entry. change (group_inputs (with_axes dense_axis l)) with (group_inputs l).
    replace (kernel_shape (with_axes dense_axis l)) with (kernel_shape l)
      by (unfold kernel_shape; simpl; rewrite map_map; reflexivity).
    apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid in Ht.
    change (input_channel (with_axes dense_axis l) o c) with (input_channel l o c).
    assert (E : samples (axes l) i t = samples (axes (with_axes dense_axis l)) (every_sth l i) t
      /\ weight_index (axes l) i t = weight_index (axes (with_axes dense_axis l)) (every_sth l i) t).
    { revert i t Hi Ht. unfold every_sth, output_shape, kernel_shape, with_axes, samples, weight_index. simpl.
      induction H as [|a axes A H IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
        inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [split; reflexivity|].
      destruct (IH is' ts' Hi1 Ht1) as [E F]. rewrite E, F, (dense_sample a i t A Hi0 Ht0), (W a i t A Hi0 Ht0).
      split; reflexivity. }
    destruct E as [E F]. rewrite E, F. reflexivity.
Qed.
Print Assumptions stride_as_subsampling_theorem.
