(* Theorem strided-shift, in full.

   With stride s on a ring of s m samples and m outputs on each axis, a layer commutes for all weights, biases and inputs
   with the shift of the samples by s b where the output is shifted by b, for every b (one amount per axis, as are s and
   m). Conversely, a layer with at least one tap that commutes for all weights and inputs with a shift by c of the
   samples and some shift by b of the outputs has c = s b modulo s m on every axis; so s divides c. *)
From Coq Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_strided_shift.
Open Scope Z_scope.

Definition strided_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ n_samples a = stride a * n_outputs a /\ tile a = 1
  /\ 1 <= n_outputs a /\ 1 <= stride a /\ 1 <= dilation a.

Lemma sample_shift (a : axis) (i t b : Z) : strided_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  sample a (rolled (n_outputs a) b i) t = rolled (n_samples a) (stride a * b) (sample a i t).
Proof.
  destruct a as [m n k s d p e f r]. unfold strided_axis; simpl. intros [-> [-> [-> [Hm [Hs Hd]]]]] Hi Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (sample_unflipped a i), (sample_unflipped a (rolled m b i)).
  apply (true_tap_within a) in Ht. exact (strided_shift_strided_shift m k s d p i _ b Hm Hs Hi Ht Hd).
Qed.

Lemma not_zero (a : axis) : strided_axis a -> 1 <= n_samples a /\ axis_boundary a <> zero.
Proof. intros [B [E [_ [H [S _]]]]]. rewrite E, B. split; [nia|discriminate]. Qed.

Theorem strided_shift_theorem (K : commutative_ring) (l : layer) (b c : list Z) :
  Forall strided_axis (axes l) -> length b = length (axes l) -> length c = length (axes l) ->
  (each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) (axes l) b c ->
   commutes K l (shift (output_shape l) b) (shift (input_shape l) c))
  /\ ((1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l -> Forall (fun a => 1 <= n_taps a) (axes l) ->
      commutes K l (shift (output_shape l) b) (shift (input_shape l) c) ->
      each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0 /\ c mod stride a = 0) (axes l) b c).
Proof.
  intros A Lb Lc. rewrite Forall_forall in A. split.
  - intro H. apply shifts_commute_if. revert H. apply each_axis_impl. intros a b0 c0 I E i t Hi Ht.
    specialize (A a I). split.
    + destruct A as [_ [_ [E1 _]]]. unfold weight. rewrite E1, !Z.mod_1_r. reflexivity.
    + right. destruct (not_zero a A) as [S Z]. repeat split; try (apply sample_not_negative; assumption).
      rewrite (sample_shift a i t b0) by assumption. apply rolled_same; assumption.
  - intros N G O T H. apply shifts_commute_only_if in H; auto.
    + revert H. rewrite Forall_forall in T. apply each_axis_impl. intros a b0 c0 I [E _].
      specialize (A a I). specialize (T a I). destruct (not_zero a A) as [S _].
      pose proof A as [_ [_ [_ [Hm _]]]]. split.
      * apply (rolled_same _ (sample a 0 0)); [assumption|]. rewrite <- E. symmetry. apply sample_shift; auto; lia.
      * destruct a as [m n k s d p e f r]. unfold strided_axis in A; simpl in *.
        destruct A as [-> [-> [-> [_ [Hs Hd]]]]]. clear I. set (a := Axis _ _ _ _ _ _ _ _ _) in *.
        rewrite (sample_unflipped a 0), (sample_unflipped a (rolled m b0 0)) in E.
        assert (Ht : 0 <= 0 < n_taps a) by (simpl; lia). apply (true_tap_within a) in Ht.
        exact (strided_shift_no_other_shift m k s d p 0 _ b0 c0 Hm Hs ltac:(lia) Ht Hd E).
    + apply Forall_forall. auto using not_zero.
    + rewrite Forall_forall in *. intros a I. destruct (A a I) as [_ [_ [_ [Hm _]]]]. auto.
    + apply Forall_forall. intros a I i i' t u Ht Hu E. destruct (A a I) as [_ [_ [E1 _]]].
      refine (strided_shift_distinct_weights (tile a) (n_taps a) i i' t u _ Ht Hu E). lia.
Qed.
Print Assumptions strided_shift_theorem.
