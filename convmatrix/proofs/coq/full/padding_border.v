(* Theorem padding-border, in full.

   Reflect, symmetric and replicate padding of any amount on one axis of n samples and n outputs, with stride 1, any
   dilation and kernel, in all channels and groups; n >= 3, or n >= 2 for replicate.
   1. The row of output i >= 1 follows the shift by one, for all weights, biases and inputs, if and only if the position
      x of each of its taps has 1 <= x mod (2 n - 2) < n, 1 <= x mod 2 n < n, or 1 <= x < n.
   2. A layer with another tap in one of these rows does not commute with the shift by one.
   3. Nor does the row of output 0 follow it where a tap has position 1 or -1. *)
From Coq Require Import ZArith List Lia Bool.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_padding_border.
Import ListNotations.
Open Scope Z_scope.

Definition smallest (b : boundary) : Z := match b with replicate => 2 | _ => 3 end.
Definition padded_axis (a : axis) : Prop :=
  (axis_boundary a = reflect \/ axis_boundary a = symmetric \/ axis_boundary a = replicate)
  /\ stride a = 1 /\ n_outputs a = n_samples a /\ tile a = 1 /\ smallest (axis_boundary a) <= n_samples a.
(* The position within one period of the boundary. *)
Definition phase (b : boundary) (n x : Z) : Z :=
  match b with reflect => x mod (2 * n - 2) | symmetric => x mod (2 * n) | _ => x end.
(* The row of output i follows the shift by -1: that of output i - 1, on the ring, is the same with the input moved. *)
Definition row_follows (K : commutative_ring) (l : layer) (o i : Z) : Prop :=
  row_moves K l (shift (input_shape l) [-1]) o (shift (output_shape l) [-1] [i]) [i].

Definition kept (b : boundary) (n x y : Z) : Prop := read_sample b y n = (read_sample b x n - 1) mod n.

Lemma kept_select (b : boundary) n x y : 1 <= n -> b <> zero ->
  kept b n x y <-> read_sample b y n = (if 0 <? read_sample b x n then read_sample b x n - 1 else n - 1).
Proof.
  intros H Z. unfold kept. destruct (read_sample_range b x n H) as [[_ E]|R]; [contradiction|].
  destruct (Z.ltb_spec 0 (read_sample b x n)).
  - rewrite Z.mod_small by lia. tauto.
  - replace (read_sample b x n) with 0 by lia.
    replace ((0 - 1) mod n) with (n - 1) by (apply (Z.mod_unique _ _ (-1)); lia). tauto.
Qed.

Lemma kept_phase (b : boundary) n x : b = reflect \/ b = symmetric \/ b = replicate -> smallest b <= n ->
  kept b n x (x - 1) <-> 1 <= phase b n x < n.
Proof.
  intros B H. assert (H1 : 1 <= n) by (destruct b; simpl in H; lia).
  assert (NZ : b <> zero) by (intros ->; intuition discriminate).
  rewrite kept_select by assumption. destruct B as [->|[->| ->]]; simpl in H; unfold phase.
  - pose proof (padding_border_reflect_kept n x H) as P. pose proof (padding_border_reflect_broken n x H) as Q.
    destruct (Z.ltb_spec 1 n); [|lia]. split; [|exact P].
    intro E. destruct (Z_le_gt_dec 1 (x mod (2 * n - 2))), (Z_lt_le_dec (x mod (2 * n - 2)) n);
      try (split; assumption); exfalso; apply Q; auto; lia.
  - pose proof (padding_border_symmetric_kept n x H) as P. pose proof (padding_border_symmetric_broken n x H) as Q.
    split; [|exact P]. intro E. destruct (Z_le_gt_dec 1 (x mod (2 * n))), (Z_lt_le_dec (x mod (2 * n)) n);
      try (split; assumption); exfalso; apply Q; auto; lia.
  - pose proof (padding_border_replicate_kept n x H) as P. pose proof (padding_border_replicate_broken n x H) as Q.
    split; [|exact P]. intro E. destruct (Z_le_gt_dec 1 x), (Z_lt_le_dec x n);
      try (split; assumption); exfalso; apply Q; auto; lia.
Qed.

Lemma first_row_broken (b : boundary) n x : b = reflect \/ b = symmetric \/ b = replicate -> smallest b <= n ->
  x = 1 \/ x = -1 -> ~ kept b n x (x + n - 1).
Proof.
  intros B H X. assert (H1 : 1 <= n) by (destruct b; simpl in H; lia).
  assert (NZ : b <> zero) by (intros ->; intuition discriminate).
  rewrite kept_select by assumption.
  destruct B as [->|[->| ->]]; simpl in H; destruct X as [->| ->].
  - exact (padding_border_reflect_row_0_at_1 n H).
  - exact (padding_border_reflect_row_0_at_minus_1 n H).
  - exact (padding_border_symmetric_row_0_at_1 n H).
  - exact (padding_border_symmetric_row_0_at_minus_1 n H).
  - exact (padding_border_replicate_row_0_at_1 n H).
  - exact (padding_border_replicate_row_0_at_minus_1 n H).
Qed.

(* The row follows if and only if each of its taps does. *)
Lemma row_by_taps (K : commutative_ring) (l : layer) (a : axis) o i : axes l = [a] -> padded_axis a ->
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> 0 <= i < n_outputs a ->
  row_follows K l o i <-> forall t, 0 <= t < n_taps a ->
    kept (axis_boundary a) (n_samples a) (position a i t) (position a ((i - 1) mod n_outputs a) t).
Proof.
  intros E A N G Hi. destruct A as [B [_ [_ [T H]]]].
  assert (P : forall j t, present [sample a j t] = true).
  { intros j t. assert (1 <= n_samples a) by (destruct (axis_boundary a); simpl in H; lia).
    assert (axis_boundary a <> zero) by (intro Z; rewrite Z in B; intuition discriminate).
    simpl. rewrite andb_true_r. apply Z.leb_le. apply sample_not_negative; assumption. }
  assert (M : forall t, tap_moves [a] (shift [n_samples a] [-1]) [(i - 1) mod n_outputs a] [i] [t]
    <-> kept (axis_boundary a) (n_samples a) (position a i t) (position a ((i - 1) mod n_outputs a) t)).
  { intro t. unfold tap_moves, samples, weight_index. cbn [on_axes]. rewrite !P, !untiled_weight by assumption.
    split.
    - intros [[X _]|[_ [_ [X _]]]]; [discriminate|]. injection X as X. exact X.
    - intro X. right. repeat split. unfold shift. simpl. f_equal. exact X. }
  unfold row_follows. unfold shift at 2, output_shape, input_shape, kernel_shape. rewrite E. split.
  - intros R t Ht. apply M. rewrite <- E. apply (row_moves_only_if K l _ o); auto.
    + rewrite E. constructor; [|constructor]. intros j j' u v Hu Hv W.
      refine (padding_border_distinct_weights (tile a) (n_taps a) j j' u v _ Hu Hv W). lia.
    + rewrite E. reflexivity.
    + rewrite E. reflexivity.
    + unfold kernel_shape. rewrite E. repeat constructor; lia.
  - intro R. apply row_moves_if. intros t Ht. unfold kernel_shape in Ht. rewrite E in Ht |- *.
    inversion Ht as [|? t0 ? ts Ht0 Ht']; subst. inversion Ht'; subst. apply M. apply R. exact Ht0.
Qed.

Theorem padding_border_theorem (K : commutative_ring) (l : layer) (a : axis) :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> axes l = [a] -> padded_axis a ->
  (forall o i, 1 <= i < n_outputs a -> row_follows K l o i <->
    forall t, 0 <= t < n_taps a -> 1 <= phase (axis_boundary a) (n_samples a) (position a i t) < n_samples a)
  /\ (forall i t, 1 <= out_channels l -> 1 <= i < n_outputs a -> 0 <= t < n_taps a ->
    ~ 1 <= phase (axis_boundary a) (n_samples a) (position a i t) < n_samples a ->
    ~ commutes K l (shift (output_shape l) [-1]) (shift (input_shape l) [-1]))
  /\ (forall o t, 0 <= t < n_taps a -> position a 0 t = 1 \/ position a 0 t = -1 -> ~ row_follows K l o 0).
Proof.
  intros N G E A. pose proof A as [B [S [M [_ H]]]].
  assert (Hn : 2 <= n_samples a) by (destruct (axis_boundary a); simpl in H; lia).
  assert (R : forall o i, 1 <= i < n_outputs a -> row_follows K l o i <->
    forall t, 0 <= t < n_taps a -> 1 <= phase (axis_boundary a) (n_samples a) (position a i t) < n_samples a).
  { intros o i Hi. rewrite (row_by_taps K l a o i E A N G) by lia.
    assert (Q : forall t, kept (axis_boundary a) (n_samples a) (position a i t) (position a ((i - 1) mod n_outputs a) t)
      <-> 1 <= phase (axis_boundary a) (n_samples a) (position a i t) < n_samples a).
    { intro t. rewrite <- kept_phase by assumption. replace (position a ((i - 1) mod n_outputs a) t) with (position a i t - 1); [tauto|].
      rewrite (Z.mod_small (i - 1)) by lia. unfold position, tap_position. rewrite S. ring. }
    split; intros X t Ht; apply Q; auto. }
  split; [exact R|split].
  - intros i t O Hi Ht X C. apply X. apply (proj1 (R 0 i Hi)); [|exact Ht]. apply C; [lia|].
    unfold output_shape. rewrite E. repeat constructor; lia.
  - intros o t Ht X F. apply (row_by_taps K l a o 0 E A N G ltac:(lia)) with (t := t) in F; [|exact Ht]. revert F.
    replace (position a ((0 - 1) mod n_outputs a) t) with (position a 0 t + n_samples a - 1).
    + apply first_row_broken; assumption.
    + replace ((0 - 1) mod n_outputs a) with (n_outputs a - 1) by (apply (Z.mod_unique _ _ (-1)); lia).
      unfold position, tap_position. rewrite S, M. ring.
Qed.
Print Assumptions padding_border_theorem.
