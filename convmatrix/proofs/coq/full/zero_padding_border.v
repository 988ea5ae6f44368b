(* Theorem zero-padding-border, in full.

   Zero padding, stride 1, as many outputs as samples, any dilation and low padding.
   1. On any number of axes, in all channels and groups: the row of output i follows the shift by -c, for all weights,
      biases and inputs, if and only if each tap reads inside the input both at i and at i - c, or outside at both.
   2. In particular it does where the windows of both outputs stay inside.
   3. On one axis, the row of output i >= 1 follows the shift by one if and only if no tap has position 0 or n; the row of
      output 0, if and only if each tap has position 0, or n or more away.
   4. On one axis with dilation 1, k >= 2 taps and low padding 0 <= p < k, exactly the rows i <= p and
      i >= n + p - k + 1 do not follow it. *)
From Coq Require Import ZArith List Lia Bool.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_zero_padding_border.
Import ListNotations.
Open Scope Z_scope.

Definition padded_axis (a : axis) : Prop :=
  axis_boundary a = zero /\ stride a = 1 /\ n_outputs a = n_samples a /\ tile a = 1 /\ 1 <= n_samples a /\ 1 <= dilation a.

(* The output that is compared with output i: moved by -c on each axis. *)
Definition moved (l : layer) (c i : list Z) : list Z := shift (output_shape l) (map Z.opp c) i.
(* The row of output i follows the shift by -c. *)
Definition row_follows (K : commutative_ring) (l : layer) (c : list Z) (o : Z) (i : list Z) : Prop :=
  row_moves K l (shift (input_shape l) (map Z.opp c)) o (moved l c i) i.
(* Tap t of output i reads inside the input. *)
Definition inside (l : layer) (i t : list Z) : Prop := within (input_shape l) (positions (axes l) i t).

Lemma sample_inside (a : axis) i t : axis_boundary a = zero -> 0 <= sample a i t <-> 0 <= position a i t < n_samples a.
Proof.
  intro B. unfold sample. rewrite B. unfold read_sample, read_zero.
  destruct (Z.ltb_spec (position a i t) 0); [lia|]. destruct (Z.ltb_spec (position a i t) (n_samples a)); lia.
Qed.

Lemma present_inside axes i t : Forall padded_axis axes -> length i = length axes -> length t = length axes ->
  present (samples axes i t) = true <-> within (map n_samples axes) (positions axes i t).
Proof.
  unfold samples, positions, within. intro F. revert i t.
  induction F as [|a axes [B _] F IH]; intros [|i is] [|t ts] Li Lt; try discriminate; simpl; [split; constructor|].
  rewrite andb_true_iff, Z.leb_le, sample_inside, IH by auto. split; [intros []; constructor; auto|inversion 1; auto].
Qed.

Definition kept (n : Z) (s s' c : Z) : Prop := (s < 0 /\ s' < 0) \/ (0 <= s /\ s' = (s + - c) mod n).

Lemma axis_kept (a : axis) i t c : padded_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  kept (n_samples a) (sample a i t) (sample a (rolled (n_outputs a) (- c) i) t) c
  <-> (0 <= position a i t < n_samples a <-> 0 <= position a (rolled (n_outputs a) (- c) i) t < n_samples a).
Proof.
  destruct a as [m n k s d p e f r]. unfold padded_axis; simpl. intros [-> [-> [-> [-> [Hn Hd]]]]] Hi Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite !(position_unflipped a _ t).
  rewrite (sample_unflipped a i), (sample_unflipped a (rolled n (- c) i)). apply (true_tap_within a) in Ht.
  exact (zero_padding_border_any_shift n k d p i _ c Hn Hd Hi Ht).
Qed.

Lemma samples_follow axes c i t : Forall padded_axis axes -> length c = length axes ->
  within (map n_outputs axes) i -> within (map n_taps axes) t ->
  within (map n_samples axes) (positions axes i t) ->
  within (map n_samples axes) (positions axes (shift (map n_outputs axes) (map Z.opp c) i) t) ->
  samples axes (shift (map n_outputs axes) (map Z.opp c) i) t = shift (map n_samples axes) (map Z.opp c) (samples axes i t).
Proof.
  unfold samples, positions, shift. intro F. revert c i t.
  induction F as [|a axes A F IH]; intros [|c cs] i t L Hi Ht P P'; try discriminate; [reflexivity|].
  inversion Hi as [|? i0 ? is Hi0 Hi']; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; simpl in *.
  inversion P as [|? ? ? ? P0 P1]; inversion P' as [|? ? ? ? P0' P1']; subst. f_equal; [|apply IH; auto].
  destruct (proj2 (axis_kept a i0 t0 c A Hi0 Ht0)) as [[S _]|[_ E]]; [tauto| |exact E].
  apply sample_inside in P0; [lia|apply A].
Qed.

Lemma untiled_index axes i i' t : Forall padded_axis axes -> length i = length axes -> length i' = length axes ->
  weight_index axes i t = weight_index axes i' t.
Proof.
  unfold weight_index. intro F. revert i i' t.
  induction F as [|a axes [_ [_ [_ [T _]]]] F IH]; intros [|i is] [|j js] [|t ts] Li Lj; try discriminate; simpl; auto.
  rewrite !untiled_weight by assumption. f_equal. apply IH; auto.
Qed.

Lemma distinct (l : layer) : Forall padded_axis (axes l) -> Forall distinct_weights (axes l).
Proof.
  apply Forall_impl. intros a [_ [_ [_ [T _]]]] i i' t u Ht Hu E.
  refine (zero_padding_border_distinct_weights (tile a) (n_taps a) i i' t u _ Ht Hu E). lia.
Qed.

Lemma row_follows_if (K : commutative_ring) (l : layer) (c : list Z) o i :
  Forall padded_axis (axes l) -> length c = length (axes l) -> within (output_shape l) i ->
  (forall t, within (kernel_shape l) t -> (inside l i t <-> inside l (moved l c i) t)) -> row_follows K l c o i.
Proof.
  intros F L Hi H. apply row_moves_if. intros t Ht. specialize (H t Ht). unfold inside, moved in *.
  assert (Li : length i = length (axes l)) by (apply within_length in Hi; unfold output_shape in Hi; rewrite map_length in Hi; auto).
  assert (Lt : length t = length (axes l)) by (apply within_length in Ht; unfold kernel_shape in Ht; rewrite map_length in Ht; auto).
  assert (Lm : length (shift (output_shape l) (map Z.opp c) i) = length (axes l)).
  { unfold output_shape. rewrite shift_length; rewrite ?map_length; auto. }
  pose proof (present_inside (axes l) i t F Li Lt) as P. pose proof (present_inside (axes l) _ t F Lm Lt) as P'.
  unfold input_shape in *. unfold tap_moves.
  destruct (present (samples (axes l) i t)) eqn:E.
  - right. assert (Q : present (samples (axes l) (shift (output_shape l) (map Z.opp c) i) t) = true) by tauto.
    split; [exact Q|]. split; [reflexivity|]. split; [|apply untiled_index; assumption].
    apply samples_follow; try assumption; tauto.
  - left. split; [|reflexivity]. apply not_true_iff_false. intro T. apply P', H, P in T. discriminate.
Qed.

Lemma row_follows_only_if (K : commutative_ring) (l : layer) (c : list Z) o i :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l ->
  Forall padded_axis (axes l) -> length c = length (axes l) -> within (output_shape l) i -> row_follows K l c o i ->
  forall t, within (kernel_shape l) t -> (inside l i t <-> inside l (moved l c i) t).
Proof.
  intros N G F L Hi H t Ht. unfold row_follows, inside, moved in *.
  assert (Li : length i = length (axes l)) by (apply within_length in Hi; unfold output_shape in Hi; rewrite map_length in Hi; auto).
  assert (Lt : length t = length (axes l)) by (apply within_length in Ht; unfold kernel_shape in Ht; rewrite map_length in Ht; auto).
  assert (Lm : length (shift (output_shape l) (map Z.opp c) i) = length (axes l)).
  { unfold output_shape. rewrite shift_length; rewrite ?map_length; auto. }
  pose proof (row_moves_only_if K l _ o _ i N G (distinct l F) Lm Li H t Ht) as T.
  pose proof (present_inside (axes l) i t F Li Lt) as P. pose proof (present_inside (axes l) _ t F Lm Lt) as P'.
  unfold input_shape. rewrite <- P, <- P'. destruct T as [[-> ->]|[-> [-> _]]]; tauto.
Qed.

(* --- one axis, the shift by one --- *)

Lemma one_axis (K : commutative_ring) (l : layer) (a : axis) o i : axes l = [a] -> padded_axis a ->
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> 0 <= i < n_outputs a ->
  row_follows K l [1] o [i] <-> forall t, 0 <= t < n_taps a ->
    kept (n_samples a) (sample a i t) (sample a (rolled (n_outputs a) (-1) i) t) 1.
Proof.
  intros E A N G Hi. assert (F : Forall padded_axis (axes l)) by (rewrite E; auto).
  assert (W : within (output_shape l) [i]) by (unfold output_shape; rewrite E; repeat constructor; lia).
  assert (L : length [1] = length (axes l)) by (rewrite E; reflexivity).
  assert (I : forall t, inside l [i] [t] <-> 0 <= position a i t < n_samples a).
  { intro t. unfold inside, input_shape, positions. rewrite E. simpl. split; [inversion 1; assumption|repeat constructor; lia]. }
  assert (I' : forall t, inside l (moved l [1] [i]) [t] <-> 0 <= position a (rolled (n_outputs a) (-1) i) t < n_samples a).
  { intro t. unfold inside, input_shape, positions, moved, output_shape, shift. rewrite E. simpl.
    split; [inversion 1; assumption|repeat constructor; lia]. }
  split.
  - intros H t Ht. apply (axis_kept a i t 1 A Hi Ht). change (- (1)) with (-1). rewrite <- I, <- I'.
    apply (row_follows_only_if K l [1] o [i]); auto. unfold kernel_shape. rewrite E. repeat constructor; lia.
  - intro H. apply row_follows_if; auto. intros t Ht. unfold kernel_shape in Ht. rewrite E in Ht.
    inversion Ht as [|? t0 ? ts Ht0 Ht']; subst. inversion Ht'; subst. rewrite I, I'. exact (proj1 (axis_kept a i t0 1 A Hi Ht0) (H t0 Ht0)).
Qed.

Lemma later_row (a : axis) i t : padded_axis a -> 2 <= n_samples a -> 1 <= i < n_outputs a -> 0 <= t < n_taps a ->
  kept (n_samples a) (sample a i t) (sample a (rolled (n_outputs a) (-1) i) t) 1
  <-> position a i t <> 0 /\ position a i t <> n_samples a.
Proof.
  destruct a as [m n k s d p e f r]. unfold padded_axis; simpl. intros [-> [-> [-> [-> [_ Hd]]]]] Hn Hi Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (position_unflipped a i t).
  replace (rolled n (-1) i) with (i - 1) by (unfold rolled; symmetry; apply Z.mod_small; lia).
  rewrite (sample_unflipped a i), (sample_unflipped a (i - 1)). apply (true_tap_within a) in Ht.
  exact (zero_padding_border_border_taps n k d p i _ Hn Hd (proj1 Hi) (proj2 Hi) Ht).
Qed.

Lemma first_row (a : axis) t : padded_axis a -> 2 <= n_samples a -> 0 <= t < n_taps a ->
  kept (n_samples a) (sample a 0 t) (sample a (rolled (n_outputs a) (-1) 0) t) 1
  <-> position a 0 t = 0 \/ position a 0 t <= - n_samples a \/ n_samples a <= position a 0 t.
Proof.
  destruct a as [m n k s d p e f r]. unfold padded_axis; simpl. intros [-> [-> [-> [-> [_ Hd]]]]] Hn Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite !(position_unflipped a 0 t).
  replace (rolled n (-1) 0) with (n - 1).
  2: { unfold rolled. rewrite Z.add_0_l. apply (Z.mod_unique _ _ (-1)); lia. }
  rewrite (sample_unflipped a 0), (sample_unflipped a (n - 1)). apply (true_tap_within a) in Ht.
  exact (zero_padding_border_taps_of_row_0 n k d p _ Hn Hd Ht).
Qed.

Theorem zero_padding_border_theorem (K : commutative_ring) (l : layer) :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> Forall padded_axis (axes l) ->
  (forall (c : list Z) o i, length c = length (axes l) -> within (output_shape l) i ->
    row_follows K l c o i <->
    forall t, within (kernel_shape l) t -> (inside l i t <-> inside l (moved l c i) t))
  /\ (forall (c : list Z) o i, length c = length (axes l) -> within (output_shape l) i ->
    (forall t, within (kernel_shape l) t -> inside l i t /\ inside l (moved l c i) t) -> row_follows K l c o i)
  /\ (forall (a : axis) o, axes l = [a] -> 2 <= n_samples a ->
    (forall i, 1 <= i < n_outputs a -> row_follows K l [1] o [i] <->
      forall t, 0 <= t < n_taps a -> position a i t <> 0 /\ position a i t <> n_samples a)
    /\ (row_follows K l [1] o [0] <-> forall t, 0 <= t < n_taps a ->
      position a 0 t = 0 \/ position a 0 t <= - n_samples a \/ n_samples a <= position a 0 t))
  /\ (forall (a : axis) o i, axes l = [a] -> 2 <= n_samples a -> dilation a = 1 -> 2 <= n_taps a ->
    0 <= pad_low a < n_taps a -> 0 <= i < n_outputs a ->
    ~ row_follows K l [1] o [i] <-> i <= pad_low a \/ n_samples a + pad_low a - n_taps a + 1 <= i).
Proof.
  intros N G F.
  assert (R : forall (c : list Z) o i, length c = length (axes l) -> within (output_shape l) i ->
    row_follows K l c o i <-> forall t, within (kernel_shape l) t -> (inside l i t <-> inside l (moved l c i) t)).
  { intros c o i L Hi. split; [apply row_follows_only_if; assumption|apply row_follows_if; assumption]. }
  assert (Q : forall (a : axis) o, axes l = [a] -> 2 <= n_samples a ->
    (forall i, 1 <= i < n_outputs a -> row_follows K l [1] o [i] <->
      forall t, 0 <= t < n_taps a -> position a i t <> 0 /\ position a i t <> n_samples a)
    /\ (row_follows K l [1] o [0] <-> forall t, 0 <= t < n_taps a ->
      position a 0 t = 0 \/ position a 0 t <= - n_samples a \/ n_samples a <= position a 0 t)).
  { intros a o E Hn. assert (A : padded_axis a) by (rewrite E in F; inversion F; assumption).
    assert (n_outputs a = n_samples a) by apply A. split.
    - intros i Hi. rewrite (one_axis K l a o i E A N G) by lia.
      split; intros H0 t Ht; apply (later_row a i t A Hn Hi Ht); auto.
    - rewrite (one_axis K l a o 0 E A N G) by lia. split; intros H0 t Ht; apply (first_row a t A Hn Ht); auto. }
  refine (conj R (conj _ (conj Q _))).
  - intros c o i L Hi H. apply R; auto. intros t Ht. destruct (H t Ht). tauto.
  - intros a o i E Hn D Hk Hp Hi. destruct (Q a o E Hn) as [Q1 Q0].
    assert (A : padded_axis a) by (rewrite E in F; inversion F; assumption). clear R Q F E.
    revert A Hn D Hk Hp Hi Q1 Q0. destruct a as [m n k s d p e f r]. unfold padded_axis; simpl.
    intros [-> [-> [-> [-> _]]]] Hn -> Hk Hp Hi Q1 Q0. set (a := Axis _ _ _ _ _ _ _ _ _) in *.
    assert (T : forall i (P : Z -> Prop), (forall t, 0 <= t < k -> P (position a i t)) <-> (forall t, 0 <= t < k -> P (position (unflipped a) i t))).
    { intros i0 P. split; intros H t Ht.
      - rewrite <- (true_tap_twice a t), <- position_unflipped. apply H. apply (true_tap_within a t). exact Ht.
      - rewrite position_unflipped. apply H. apply (true_tap_within a t). exact Ht. }
    destruct (Z.eq_dec i 0) as [->|I].
    + split; [lia|]. intros _ H. pose proof (proj1 (T 0 (fun x => x = 0 \/ x <= - n \/ n <= x)) (proj1 Q0 H)) as B. clear H Q0 Q1.
      destruct (zero_padding_border_row_0 n k p Hn Hk ltac:(lia) ltac:(lia)) as [Ht H1].
      specialize (B _ Ht). revert B. unfold unflipped, a; simpl. destruct H1 as [->| ->]; lia.
    + rewrite (Q1 i) by lia. clear Q0 Q1. rewrite (T i (fun x => x <> 0 /\ x <> n)).
      split.
      * intro H. destruct (Z_le_gt_dec i p); [left; assumption|]. right.
        destruct (Z_lt_le_dec (n + p - k) i); [lia|]. exfalso. apply H. intros t Ht.
        destruct (zero_padding_border_border_rows n k p i t Hn Hk ltac:(lia) ltac:(lia) ltac:(lia) ltac:(lia) Ht)
          as [_ [_ B]]. split; intro X; [destruct (B (or_introl X))|destruct (B (or_intror X))]; lia.
      * intros C H. assert (H0 : 0 <= 0 < k) by lia.
        destruct (zero_padding_border_border_rows n k p i 0 Hn Hk ltac:(lia) ltac:(lia) ltac:(lia) ltac:(lia) H0)
          as [B [B' _]]. destruct C as [C|C].
        -- destruct (B C) as [Ht X]. destruct (H _ Ht) as [Y _]. exact (Y X).
        -- destruct (B' ltac:(lia)) as [Ht X]. destruct (H _ Ht) as [_ Y]. exact (Y X).
Qed.
Print Assumptions zero_padding_border_theorem.
