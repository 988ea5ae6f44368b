(* Theorem tiled-shift, in full.

   A tiled layer, whose output i uses kernel i mod tile on each axis, on a ring of tile g outputs and s tile g samples
   per axis (s is the stride), commutes for all weights, biases and inputs with the shift of the outputs by b and of the
   samples by c where b is a multiple of the tile and c = s b modulo the number of samples, on every axis. Conversely, a
   layer with at least one tap that commutes with such a pair of shifts for all weights and inputs has b a multiple of
   the tile and c = s b modulo the number of samples; so c is a multiple of s tile. *)
From Coq Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_tiled_shift.
Open Scope Z_scope.

Definition tiled_axis (a : axis) : Prop := ring_axis a /\ 1 <= tile a /\ exists g, 1 <= g /\ n_outputs a = tile a * g.

Lemma weight_shift (a : axis) (i t b : Z) : tiled_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  b mod tile a = 0 -> weight a (rolled (n_outputs a) b i) t = weight a i t.
Proof.
  destruct a as [m n k s d p e f r]. unfold tiled_axis; simpl. intros [_ [Hr [g [Hg ->]]]] Hi Ht E.
  apply Z.mod_divide in E; [|lia]. destruct E as [q ->]. rewrite (Z.mul_comm q r).
  exact (tiled_shift_same_kernel g r k i t q Hg Hr Hi Ht).
Qed.

Lemma only_tile (a : axis) (t b : Z) : tiled_axis a -> 0 <= t < n_taps a ->
  weight a (rolled (n_outputs a) b 0) t = weight a 0 t -> b mod tile a = 0.
Proof.
  destruct a as [m n k s d p e f r]. unfold tiled_axis; simpl. intros [_ [Hr [g [Hg ->]]]] Ht E.
  apply (tiled_shift_other_kernels g r 0 b); auto; [nia|].
  exact (tiled_shift_same_weight_same_kernel r k _ _ t Hr ltac:(lia) Ht E).
Qed.

(* the multiples of s tile *)
Lemma multiple (s r g b c : Z) : 1 <= s -> 1 <= r -> 1 <= g -> b mod r = 0 -> (c - s * b) mod (s * (r * g)) = 0 ->
  c mod (s * r) = 0.
Proof.
  intros S R G B C. apply Z.mod_divide in B; [|lia]. apply Z.mod_divide in C; [|nia]. destruct B as [q B], C as [v C].
  apply Z.mod_divide; [nia|]. exists (v * g + q). replace c with (s * b + v * (s * (r * g))) by lia. rewrite B. ring.
Qed.

Theorem tiled_shift_theorem (K : commutative_ring) (l : layer) (b c : list Z) :
  Forall tiled_axis (axes l) -> length b = length (axes l) -> length c = length (axes l) ->
  (each_axis (fun a b c => b mod tile a = 0 /\ (c - stride a * b) mod n_samples a = 0) (axes l) b c ->
   commutes K l (shift (output_shape l) b) (shift (input_shape l) c))
  /\ ((1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l -> Forall (fun a => 1 <= n_taps a) (axes l) ->
      commutes K l (shift (output_shape l) b) (shift (input_shape l) c) ->
      each_axis (fun a b c => b mod tile a = 0 /\ (c - stride a * b) mod n_samples a = 0
        /\ c mod (stride a * tile a) = 0) (axes l) b c).
Proof.
  intros A Lb Lc. assert (R : Forall ring_axis (axes l)) by (eapply Forall_impl; [|exact A]; intros a [? _]; assumption).
  rewrite Forall_forall in A. split.
  - intro H. apply (ring_axes_commute tiled_shift_strided_shift); [assumption|]. revert H. apply each_axis_impl.
    intros a b0 c0 I [B E]. split; [|exact E]. intros i t Hi Ht. apply weight_shift; auto.
  - intros N G O T H. apply shifts_commute_only_if in H; auto.
    + revert H. rewrite Forall_forall in T. apply each_axis_impl. intros a b0 c0 I [E W].
      specialize (A a I). specialize (T a I). pose proof A as [Ra [Hr [g [Hg Em]]]].
      destruct (ring_axis_present a Ra) as [S _]. pose proof Ra as [_ [En [Hm [Hs _]]]].
      assert (B : b0 mod tile a = 0) by (apply (only_tile a 0); auto; lia).
      assert (C : (c0 - stride a * b0) mod n_samples a = 0).
      { apply (rolled_same _ (sample a 0 0)); [assumption|]. rewrite <- E. symmetry.
        apply (ring_axis_moves tiled_shift_strided_shift); auto; lia. }
      repeat split; auto. rewrite En, Em in C. exact (multiple _ _ g b0 c0 Hs Hr Hg B C).
    + eapply Forall_impl; [|exact R]. exact ring_axis_present.
    + rewrite Forall_forall in *. intros a I. destruct (R a I) as [_ [_ [Hm _]]]. auto.
    + apply Forall_forall. intros a I i i' t u Ht Hu E. destruct (A a I) as [_ [Hr _]].
      exact (tiled_shift_distinct_weights (tile a) (n_taps a) i i' t u Hr Ht Hu E).
Qed.
Print Assumptions tiled_shift_theorem.
