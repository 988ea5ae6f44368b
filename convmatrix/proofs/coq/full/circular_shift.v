(* Theorem circular-shift, in full.

   Circular convolution with stride 1 and as many outputs as samples commutes with every cyclic shift: on any number of
   axes, in all channels and groups, for all weights, biases and inputs in any commutative ring, for kernels of any
   length, reversed or not, with any dilation and any offset (low padding). *)
From Coq Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_circular_shift.
Open Scope Z_scope.

Definition circular_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ stride a = 1 /\ n_outputs a = n_samples a /\ tile a = 1
  /\ 1 <= n_samples a /\ 1 <= dilation a.

Lemma axis_shift (a : axis) (c : Z) :
  circular_axis a -> axis_moves a (rolled (n_outputs a) c) (rolled (n_samples a) c).
Proof.
  destruct a as [m n k s d p e f r]. unfold circular_axis; simpl. intros [-> [-> [-> [-> [Hn Hd]]]]].
  set (a := Axis _ _ _ _ _ _ _ _ _). intros i t Hi Ht. split; [unfold weight; simpl; now rewrite !Z.mod_1_r|right].
  split; [|split]; [apply sample_not_negative; simpl; auto; discriminate .. |].
  rewrite (sample_unflipped a i), (sample_unflipped a (rolled n c i)). apply (true_tap_within a) in Ht. exact (circular_shift_shift n k d p i _ c Hn Hi Ht Hd).
Qed.

Theorem circular_shift_theorem (K : commutative_ring) (l : layer) (c : list Z) :
  Forall circular_axis (axes l) -> length c = length (axes l) ->
  commutes K l (shift (output_shape l) c) (shift (input_shape l) c).
Proof.
  intros H L. apply shifts_commute_if. revert c L. induction H as [|a axes A H IH]; intros [|c0 c]; try discriminate;
    constructor; auto using axis_shift.
Qed.
Print Assumptions circular_shift_theorem.
