(* Theorem strided-shift, in full.

   With stride s on a ring of s m samples and m outputs on each axis, a layer commutes for all weights, biases and inputs
   with the shift of the samples by s b where the output is shifted by b, for every b (one amount per axis, as are s and
   m). Conversely, a layer with at least one tap that commutes for all weights and inputs with a shift by c of the
   samples and some shift by b of the outputs has c = s b modulo s m on every axis; so s divides c. *)
From Coq Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_strided_shift.
Open Scope Z_scope.

Definition strided_axis (a : axis) : Prop := ring_axis a /\ tile a = 1.

Theorem strided_shift_theorem (K : commutative_ring) (l : layer) (b c : list Z) :
  Forall strided_axis (axes l) -> length b = length (axes l) -> length c = length (axes l) ->
  (each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) (axes l) b c ->
   commutes K l (shift (output_shape l) b) (shift (input_shape l) c))
  /\ ((1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l -> Forall (fun a => 1 <= n_taps a) (axes l) ->
      commutes K l (shift (output_shape l) b) (shift (input_shape l) c) ->
      each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0 /\ c mod stride a = 0) (axes l) b c).
Proof.
  intros A Lb Lc. assert (R : Forall ring_axis (axes l)) by (eapply Forall_impl; [|exact A]; intros a [? _]; assumption).
  rewrite Forall_forall in A. split.
  - intro H. apply (ring_axes_commute strided_shift_strided_shift); [assumption|]. revert H. apply each_axis_impl.
    intros a b0 c0 I E. split; [|exact E]. intros i t _ _. destruct (A a I) as [_ T]. rewrite !untiled_weight; auto.
  - intros N G O T H. apply shifts_commute_only_if in H; auto.
    + revert H. rewrite Forall_forall in T. apply each_axis_impl. intros a b0 c0 I [E _].
      destruct (A a I) as [Ra Ta]. specialize (T a I). destruct (ring_axis_present a Ra) as [S _].
      pose proof Ra as [_ [_ [Hm _]]]. split.
      * apply (rolled_same _ (sample a 0 0)); [assumption|]. rewrite <- E. symmetry.
        apply (ring_axis_moves strided_shift_strided_shift); auto; lia.
      * destruct a as [m n k s d p e f r]. unfold ring_axis in Ra; simpl in *.
        destruct Ra as [-> [-> [_ [Hs Hd]]]]. subst r. clear I. set (a := Axis _ _ _ _ _ _ _ _ _) in *.
        rewrite (sample_unflipped a 0), (sample_unflipped a (rolled m b0 0)) in E.
        assert (Ht : 0 <= 0 < n_taps a) by (simpl; lia). apply (true_tap_within a) in Ht.
        exact (strided_shift_no_other_shift m k s d p 0 _ b0 c0 Hm Hs ltac:(lia) Ht Hd E).
    + eapply Forall_impl; [|exact R]. exact ring_axis_present.
    + rewrite Forall_forall in *. intros a I. destruct (R a I) as [_ [_ [Hm _]]]. auto.
    + apply Forall_forall. intros a I i i' t u Ht Hu E. destruct (A a I) as [_ E1].
      refine (strided_shift_distinct_weights (tile a) (n_taps a) i i' t u _ Ht Hu E). lia.
Qed.
Print Assumptions strided_shift_theorem.
