(* Theorem no-scaling-or-rotation, in full.

   Layers with stride 1 and one kernel, in any channels and groups. Weights are independent: a layer commutes with a map
   of places if it does for all weights and inputs.
   1. On the unbounded grid, on any number of axes, a layer commutes with the scaling by a factor f >= 2 if and only if
      each of its taps is at the centre; with a positive dilation it then has one tap.
   2. On the unbounded grid, in the plane, the same holds for the multiplication by a Gaussian integer g + h i that is
      not 1: a rotation with a scaling.
   3. On rings of n samples and n outputs, on any number of axes, a row follows the scaling by any integer f, modulo n on
      each axis, if and only if n divides (f - 1) o for the offset o of each tap on each axis.
   4. On a square of rings, a row follows the multiplication by g + h i, modulo n, if and only if the offset of each tap
      is its product with g + h i modulo n. *)
From Coq Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_no_scaling_or_rotation.
Import ListNotations.
Open Scope Z_scope.

Definition plain_axis (a : axis) : Prop := stride a = 1 /\ tile a = 1 /\ 1 <= dilation a.
Definition plain_ring (a : axis) : Prop :=
  plain_axis a /\ axis_boundary a = circular /\ n_outputs a = n_samples a /\ 1 <= n_samples a.

(* A layer on the unbounded grid reads the input at the positions of its taps. *)
Definition apply_unbounded {K : commutative_ring} (l : layer) (w : weights K) (b : Z -> K) (x : array K) : array K := fun o i =>
  (b o + sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
     w o c (weight_index (axes l) i t) * x (input_channel l o c) (positions (axes l) i t))))%K.
Definition commutes_unbounded (K : commutative_ring) (l : layer) (m : list Z -> list Z) : Prop :=
  forall (w : weights K) (b : Z -> K) (x : array K) o i, 0 <= o < out_channels l -> length i = length (axes l) ->
  apply_unbounded l w b x o (m i) = apply_unbounded l w b (at_places m x) o i.

Definition origin (l : layer) : list Z := map (fun _ => 0) (axes l).
(* The offsets of a tap: its positions at output 0. All taps at the centre: all offsets are 0. *)
Definition offsets (l : layer) (t : list Z) : list Z := positions (axes l) (origin l) t.
Definition only_centre (l : layer) : Prop := forall t, within (kernel_shape l) t -> offsets l t = origin l.

(* Multiplication by f, and in the plane by g + h i; modulo the sizes on rings. *)
Definition scaled (f : Z) : list Z -> list Z := map (Z.mul f).
Definition turned (g h : Z) (place : list Z) : list Z :=
  match place with [y; x] => [g * y - h * x; h * y + g * x] | _ => place end.
Definition modulo (sizes place : list Z) : list Z := pairwise (fun n i => i mod n) sizes place.

(* --- taps --- *)

Lemma position_offset (a : axis) i t : stride a = 1 -> position a i t = i + position a 0 t.
Proof. unfold position, tap_position. intros ->. ring. Qed.

Lemma untiled_index axes i t : Forall plain_axis axes -> length i = length axes -> within (map n_taps axes) t ->
  weight_index axes i t = t.
Proof.
  intro F. unfold weight_index. revert i t. induction F as [|a axes [_ [U _]] F IH]; intros [|i0 i] t L Ht; try discriminate;
    inversion Ht; subst; simpl; [reflexivity|]. rewrite untiled_weight by assumption. f_equal. apply IH; auto.
Qed.

Lemma one_tap (l : layer) : Forall plain_axis (axes l) -> only_centre l ->
  forall t u, within (kernel_shape l) t -> within (kernel_shape l) u -> t = u.
Proof.
  unfold only_centre, kernel_shape, offsets, origin, positions. intros F C t u Ht Hu.
  assert (E : on_axes position (axes l) (map (fun _ => 0) (axes l)) t = on_axes position (axes l) (map (fun _ => 0) (axes l)) u)
    by (rewrite !C by assumption; reflexivity).
  clear C. revert t u Ht Hu E. induction F as [|a axes [_ [_ D]] F IH]; intros t u Ht Hu E;
    inversion Ht as [|? t0 ? ts Ht0 Ht']; inversion Hu as [|? u0 ? us Hu0 Hu']; subst; [reflexivity|].
  simpl in E. injection E as E E'. f_equal; [|apply IH; assumption].
  rewrite <- (true_tap_twice a t0), <- (true_tap_twice a u0). f_equal.
  change (tap_position 0 (true_tap a t0) (stride a) (dilation a) (pad_low a) = tap_position 0 (true_tap a u0) (stride a) (dilation a) (pad_low a)) in E.
  unfold tap_position in E. nia.
Qed.

Section Unbounded.
Context {K : commutative_ring} (l : layer).
Add Ring K_ring : (ring_laws K).
Hypothesis F : Forall plain_axis (axes l).

Lemma apply_one_tap t (x : array K) o i : 1 <= group_inputs l -> length i = length (axes l) -> within (kernel_shape l) t ->
  apply_unbounded l (unit_weight 0 t) no_bias x o i = x (input_channel l o 0) (positions (axes l) i t).
Proof.
  intros G L Ht. unfold apply_unbounded, no_bias. rewrite add_zero.
  rewrite (sum_single _ 0%Z); [|apply range_distinct|apply in_range; lia|].
  - rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
    + rewrite untiled_index by assumption. unfold unit_weight. destruct (Z.eq_dec 0 0); [|congruence].
      destruct (same_place t t); [|congruence]. ring.
    + intros u Hu N. apply in_grid in Hu. rewrite untiled_index by assumption. unfold unit_weight.
      destruct (Z.eq_dec 0 0); [|ring]. destruct (same_place u t); [contradiction|ring].
  - intros c _ N. apply sum_zero; intros u _. unfold unit_weight. destruct (Z.eq_dec c 0); [contradiction|ring].
Qed.

(* A layer on the unbounded grid commutes with a map if and only if the positions of its taps do. *)
Lemma unbounded_by_taps (m : list Z -> list Z) : (1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l ->
  (forall i, length i = length (axes l) -> length (m i) = length (axes l)) ->
  commutes_unbounded K l m <-> forall i t, length i = length (axes l) -> within (kernel_shape l) t ->
    positions (axes l) (m i) t = m (positions (axes l) i t).
Proof.
  intros N G O L. split.
  - intros H i t Li Ht. specialize (H (unit_weight 0 t) no_bias (unit_input (m (positions (axes l) i t))) 0 i ltac:(lia) Li).
    rewrite !apply_one_tap in H by auto. unfold at_places, unit_input in H.
    destruct (same_place (m (positions (axes l) i t)) (m (positions (axes l) i t))); [|congruence].
    destruct (same_place (positions (axes l) (m i) t) _); [assumption|congruence].
  - intros H w b x o i _ Li. unfold apply_unbounded, at_places. f_equal.
    apply sum_ext; intros c _. apply sum_ext; intros t Ht. apply in_grid in Ht.
    rewrite !untiled_index, H by auto. reflexivity.
Qed.
End Unbounded.

(* A tap at the centre reads the position of its output. *)
Lemma centre_positions axes i t : Forall plain_axis axes -> length i = length axes -> length t = length axes ->
  positions axes (map (fun _ => 0) axes) t = map (fun _ => 0) axes -> positions axes i t = i.
Proof.
  unfold positions. intro F. revert i t. induction F as [|a axes [S _] F IH]; intros [|i0 i] [|t0 t] L T E; try discriminate;
    [reflexivity|]. simpl in *. injection E as E E'. f_equal; [|apply IH; auto].
  rewrite position_offset, E by assumption. apply Z.add_0_r.
Qed.

Lemma kernel_length l t : within (kernel_shape l) t -> length t = length (axes l).
Proof. intro H. apply within_length in H. unfold kernel_shape in H. rewrite map_length in H. exact H. Qed.

Lemma only_centre_commutes (K : commutative_ring) (l : layer) (m : list Z -> list Z) : Forall plain_axis (axes l) ->
  (forall i, length i = length (axes l) -> length (m i) = length (axes l)) ->
  only_centre l -> commutes_unbounded K l m.
Proof.
  intros F L C w b x o i _ Li. unfold apply_unbounded, at_places. f_equal.
  apply sum_ext; intros c _. apply sum_ext; intros t Ht. apply in_grid in Ht.
  pose proof (kernel_length l t Ht) as Lt. rewrite !untiled_index by auto.
  rewrite !(centre_positions _ _ t F) by (auto; apply C; assumption). reflexivity.
Qed.

(* A plain axis as the lemmas have it. *)
Lemma offset_of (a : axis) t : plain_axis a ->
  exists t', position a 0 t = position (Axis 1 1 1 1 (dilation a) (pad_low a) zero false 1) 0 t'
    /\ forall i, position a i t = position (Axis 1 1 1 1 (dilation a) (pad_low a) zero false 1) i t'.
Proof.
  intros [S _]. exists (true_tap a t). unfold position, tap_position, true_tap. simpl. rewrite S. auto.
Qed.

Lemma scaling_centre (a : axis) f i t : plain_axis a -> 2 <= f ->
  position a (f * i) t = f * position a i t -> position a 0 t = 0.
Proof.
  intros A Hf E. destruct (offset_of a t A) as [t' [-> P]]. rewrite !P in E. destruct A as [_ [_ D]].
  exact (no_scaling_or_rotation_scaling_of_the_grid i _ _ t' f D Hf E).
Qed.

Lemma turning_centre (a a' : axis) g h y x t s : plain_axis a -> plain_axis a' -> g <> 1 \/ h <> 0 ->
  position a (g * y - h * x) t = g * position a y t - h * position a' x s ->
  position a' (h * y + g * x) s = h * position a y t + g * position a' x s ->
  position a 0 t = 0 /\ position a' 0 s = 0.
Proof.
  intros A A' M E E'. destruct (offset_of a t A) as [t' [-> P]]. destruct (offset_of a' s A') as [s' [-> P']].
  rewrite (P (g * y - h * x)), (P y), (P' x) in E. rewrite (P' (h * y + g * x)), (P y), (P' x) in E'.
  destruct A as [_ [_ D]], A' as [_ [_ D']].
  exact (no_scaling_or_rotation_rotation_of_the_grid y x _ _ _ _ t' s' g h D D' M E E').
Qed.

(* --- rings --- *)

Lemma ring_sample (a : axis) i t : plain_ring a -> sample a i t = position a i t mod n_samples a.
Proof. intros [_ [B _]]. unfold sample. rewrite B. reflexivity. Qed.

Lemma same_remainder n x y : 1 <= n -> x mod n = y mod n <-> (x - y) mod n = 0.
Proof.
  intro H. split; intro E.
  - rewrite Zminus_mod, E, Z.sub_diag. apply Z.mod_0_l. lia.
  - apply Z.mod_divide in E; [|lia]. destruct E as [q E]. replace x with (y + q * n) by lia. apply Z.mod_add. lia.
Qed.

(* A tap of one axis follows the scaling if and only if it leaves its offset in place, modulo n. *)
Lemma scaling_in_place (a : axis) f i t : plain_ring a ->
  sample a ((f * i) mod n_outputs a) t = (f * sample a i t) mod n_samples a
  <-> ((f - 1) * position a 0 t) mod n_samples a = 0.
Proof.
  intro A. pose proof A as [P [_ [M H]]]. rewrite !(ring_sample a) by assumption. rewrite M. set (n := n_samples a) in *.
  split.
  - intro E. pose proof (Z.div_mod (f * i) n ltac:(lia)) as D1. pose proof (Z.div_mod (position a i t) n ltac:(lia)) as D2.
    pose proof (Z.div_mod (position a ((f * i) mod n) t) n ltac:(lia)) as D3.
    pose proof (Z.div_mod (f * (position a i t mod n)) n ltac:(lia)) as D4.
    set (q1 := f * i / n) in *. set (q2 := position a i t / n) in *. set (q3 := position a ((f * i) mod n) t / n) in *.
    set (q4 := f * (position a i t mod n) / n) in *.
    destruct (offset_of a t P) as [t' [O Q]]. rewrite O.
    assert (X : position (Axis n n 1 1 (dilation a) (pad_low a) zero false 1) (f * i - n * q1) t' - n * q3
      = f * position (Axis n n 1 1 (dilation a) (pad_low a) zero false 1) i t' - n * (f * q2 + q4)).
    { change (position (Axis n n 1 1 (dilation a) (pad_low a) zero false 1))
        with (position (Axis 1 1 1 1 (dilation a) (pad_low a) zero false 1)).
      rewrite <- !Q. replace (f * i - n * q1) with ((f * i) mod n) by lia. nia. }
    pose proof (no_scaling_or_rotation_scaling_on_a_ring n 1 _ _ i t' f q1 (f * q2 + q4) q3 H X) as R.
    change (position (Axis n n 1 1 (dilation a) (pad_low a) zero false 1))
      with (position (Axis 1 1 1 1 (dilation a) (pad_low a) zero false 1)) in R.
    rewrite R. rewrite Z.mul_comm. apply Z.mod_mul. lia.
  - intro E. destruct P as [S _]. rewrite (position_offset a ((f * i) mod n) t S), (position_offset a i t S).
    set (o := position a 0 t) in *. rewrite Zplus_mod_idemp_l, Zmult_mod_idemp_r. symmetry. apply same_remainder; [assumption|].
    replace (f * (i + o) - (f * i + o)) with ((f - 1) * o) by ring. exact E.
Qed.

Lemma turning_in_place (a a' : axis) g h y x t s : plain_ring a -> plain_ring a' -> n_samples a' = n_samples a ->
  let n := n_samples a in
  sample a ((g * y - h * x) mod n) t = (g * sample a y t - h * sample a' x s) mod n
    /\ sample a' ((h * y + g * x) mod n) s = (h * sample a y t + g * sample a' x s) mod n
  <-> (g * position a 0 t - h * position a' 0 s - position a 0 t) mod n = 0
    /\ (h * position a 0 t + g * position a' 0 s - position a' 0 s) mod n = 0.
Proof.
  intros A A' E n. pose proof A as [[S _] [_ [_ H]]]. pose proof A' as [[S' _] _]. rewrite !(ring_sample a), !(ring_sample a') by assumption.
  rewrite E. fold n. fold n in H.
  rewrite (position_offset a ((g * y - h * x) mod n) t S), (position_offset a y t S),
    (position_offset a' ((h * y + g * x) mod n) s S'), (position_offset a' x s S').
  set (v := position a 0 t). set (u := position a' 0 s). split.
  - intros [X Y].
    pose proof (Z.div_mod (g * y - h * x) n ltac:(lia)) as D1. pose proof (Z.div_mod (h * y + g * x) n ltac:(lia)) as D2.
    pose proof (Z.div_mod (y + v) n ltac:(lia)) as D3. pose proof (Z.div_mod (x + u) n ltac:(lia)) as D4.
    pose proof (Z.div_mod ((g * y - h * x) mod n + v) n ltac:(lia)) as D5.
    pose proof (Z.div_mod ((h * y + g * x) mod n + u) n ltac:(lia)) as D6.
    pose proof (Z.div_mod (g * ((y + v) mod n) - h * ((x + u) mod n)) n ltac:(lia)) as D7.
    pose proof (Z.div_mod (h * ((y + v) mod n) + g * ((x + u) mod n)) n ltac:(lia)) as D8.
    rewrite X in D5. rewrite Y in D6.
    set (r7 := (g * ((y + v) mod n) - h * ((x + u) mod n)) mod n) in *. set (r8 := (h * ((y + v) mod n) + g * ((x + u) mod n)) mod n) in *.
    set (q1 := (g * y - h * x) / n) in *. set (q2 := (h * y + g * x) / n) in *.
    set (q3 := (y + v) / n) in *. set (q4 := (x + u) / n) in *.
    set (q5 := ((g * y - h * x) mod n + v) / n) in *. set (q6 := ((h * y + g * x) mod n + u) / n) in *.
    set (q7 := (g * ((y + v) mod n) - h * ((x + u) mod n)) / n) in *. set (q8 := (h * ((y + v) mod n) + g * ((x + u) mod n)) / n) in *.
    destruct (no_scaling_or_rotation_rotation_on_a_ring n y x v u g h q1 q2 (g * q3 - h * q4 + q7) (h * q3 + g * q4 + q8) q5 q6 H)
      as [-> ->].
    + replace (g * y - h * x - n * q1) with ((g * y - h * x) mod n) by lia. 
      replace (g * (y + v) - h * (x + u)) with (g * (n * q3 + (y + v) mod n) - h * (n * q4 + (x + u) mod n)) by lia. lia.
    + replace (h * y + g * x - n * q2) with ((h * y + g * x) mod n) by lia.
      replace (h * (y + v) + g * (x + u)) with (h * (n * q3 + (y + v) mod n) + g * (n * q4 + (x + u) mod n)) by lia. lia.
    + rewrite !(Z.mul_comm n), !Z.mod_mul by lia. auto.
  - intros [X Y]. rewrite !Zplus_mod_idemp_l.
    assert (C : forall p q, (p * ((y + v) mod n) + q * ((x + u) mod n)) mod n = (p * (y + v) + q * (x + u)) mod n).
    { intros p q. rewrite Zplus_mod, !Zmult_mod_idemp_r, <- Zplus_mod. reflexivity. }
    replace (g * ((y + v) mod n) - h * ((x + u) mod n)) with (g * ((y + v) mod n) + - h * ((x + u) mod n)) by ring.
    rewrite !C. split; symmetry; apply same_remainder; try assumption.
    + replace (g * (y + v) + - h * (x + u) - (g * y - h * x + v)) with (g * v - h * u - v) by ring. exact X.
    + replace (h * (y + v) + g * (x + u) - (h * y + g * x + u)) with (h * v + g * u - u) by ring. exact Y.
Qed.

Lemma plain axes : Forall plain_ring axes -> Forall plain_axis axes.
Proof. apply Forall_impl. intros a [? _]; assumption. Qed.

Lemma row_by_taps (K : commutative_ring) (l : layer) p o i' i : (1 <> 0 :> K)%K -> 1 <= group_inputs l ->
  Forall plain_ring (axes l) -> length i' = length (axes l) -> length i = length (axes l) ->
  row_moves K l p o i' i <-> forall t, within (kernel_shape l) t -> samples (axes l) i' t = p (samples (axes l) i t).
Proof.
  intros N G F L' L. assert (P : forall j t, present (samples (axes l) j t) = true).
  { intros j t. apply always_present. eapply Forall_impl; [|exact F]. intros a [_ [B [_ H]]]. rewrite B. split; [exact H|discriminate]. }
  split.
  - intros H t Ht. apply row_moves_only_if with (t := t) in H; auto.
    + destruct H as [[X _]|[_ [_ [X _]]]]; [rewrite P in X; discriminate|exact X].
    + eapply Forall_impl; [|exact F]. intros a [[_ [T _]] _] j j' u v _ _ E. rewrite !untiled_weight in E by assumption. exact E.
  - intro H. apply row_moves_if. intros t Ht. right. rewrite !P, !untiled_index by auto using plain. auto.
Qed.

Lemma same_head (x y : Z) l l' : x :: l = y :: l' <-> x = y /\ l = l'.
Proof. split; [injection 1; auto|intros []; congruence]. Qed.

Lemma scaled_in_place axes f i t : Forall plain_ring axes -> length i = length axes -> within (map n_taps axes) t ->
  samples axes (modulo (map n_outputs axes) (scaled f i)) t = modulo (map n_samples axes) (scaled f (samples axes i t))
  <-> modulo (map n_samples axes) (scaled (f - 1) (positions axes (map (fun _ => 0) axes) t)) = map (fun _ => 0) axes.
Proof.
  unfold samples, modulo, scaled, positions. intro F. revert i t.
  induction F as [|a axes A F IH]; intros [|i0 i] t L Ht; try discriminate; inversion Ht; subst; simpl; [tauto|].
  rewrite !same_head, (scaling_in_place a f i0 _ A), IH by auto. tauto.
Qed.

Theorem no_scaling_or_rotation_theorem (K : commutative_ring) (l : layer) :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l ->
  (forall f, 2 <= f -> Forall plain_axis (axes l) -> commutes_unbounded K l (scaled f) <-> only_centre l)
  /\ (forall a a' g h, axes l = [a; a'] -> plain_axis a -> plain_axis a' -> g <> 1 \/ h <> 0 ->
    1 <= n_taps a -> 1 <= n_taps a' -> commutes_unbounded K l (turned g h) <-> only_centre l)
  /\ (Forall plain_axis (axes l) -> only_centre l ->
    forall t u, within (kernel_shape l) t -> within (kernel_shape l) u -> t = u)
  /\ (forall f o i, Forall plain_ring (axes l) -> within (output_shape l) i ->
    row_moves K l (fun j => modulo (input_shape l) (scaled f j)) o (modulo (output_shape l) (scaled f i)) i
    <-> forall t, within (kernel_shape l) t -> modulo (input_shape l) (scaled (f - 1) (offsets l t)) = origin l)
  /\ (forall a a' g h o i, axes l = [a; a'] -> plain_ring a -> plain_ring a' -> n_samples a' = n_samples a ->
    within (output_shape l) i ->
    row_moves K l (fun j => modulo (input_shape l) (turned g h j)) o (modulo (output_shape l) (turned g h i)) i
    <-> forall t, within (kernel_shape l) t ->
      modulo (input_shape l) (turned g h (offsets l t)) = modulo (input_shape l) (offsets l t)).
Proof.
  intros N G O. refine (conj _ (conj _ (conj (one_tap l) (conj _ _)))).
  - intros f Hf F. assert (L : forall i, length i = length (axes l) -> length (scaled f i) = length (axes l)).
    { intros i L. unfold scaled. rewrite map_length. exact L. }
    split; [|apply only_centre_commutes; assumption].
    intros C0 t Ht. pose proof (proj1 (unbounded_by_taps l F _ N G O L) C0) as C. specialize (C (origin l) t (map_length _ _) Ht). unfold offsets, origin, positions, scaled, kernel_shape in *.
    clear -F Hf Ht C. revert t Ht C.
    induction F as [|a axes A F IH]; intros t Ht C; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst;
      [reflexivity|]. cbn [map on_axes] in *. apply same_head in C. destruct C as [C C']. f_equal; [|apply IH; assumption].
    exact (scaling_centre a f 0 t0 A Hf C).
  - intros a a' g h E A A' M Hk Hk'.
    assert (F : Forall plain_axis (axes l)) by (rewrite E; auto).
    assert (L : forall i, length i = length (axes l) -> length (turned g h i) = length (axes l)).
    { rewrite E. intros [|y [|x [|? ?]]]; simpl; auto. }
    split; [|apply only_centre_commutes; assumption].
    intros C0 t Ht. pose proof (proj1 (unbounded_by_taps l F _ N G O L) C0) as C. clear C0. specialize (C (origin l) t (map_length _ _) Ht). revert C. unfold offsets, origin, positions, kernel_shape in *.
    rewrite E in *. inversion Ht as [|? t0 ? ts Ht0 Ht']; subst. inversion Ht' as [|? t1 ? t2 Ht1 Ht'']; subst. inversion Ht''; subst.
    cbn [map on_axes turned]. intro C. apply same_head in C. destruct C as [C C']. apply same_head in C'. destruct C' as [C' _].
    destruct (turning_centre a a' g h 0 0 t0 t1 A A' M C C') as [-> ->]. reflexivity.
  - intros f o i F Hi. apply within_length in Hi. unfold output_shape in Hi. rewrite map_length in Hi.
    rewrite row_by_taps; auto.
    2: { unfold modulo, output_shape. rewrite pairwise_length; unfold scaled; rewrite !map_length; auto. }
    split; intros H t Ht; apply (scaled_in_place (axes l) f i t F Hi Ht); apply H; exact Ht.
  - intros a a' g h o i E A A' S Hi.
    assert (F : Forall plain_ring (axes l)) by (rewrite E; auto).
    unfold output_shape, input_shape, kernel_shape, offsets, origin in *. rewrite E in Hi.
    inversion Hi as [|? y ? ys Hy Hi']; subst. inversion Hi' as [|? x ? xs Hx Hi'']; subst. inversion Hi''; subst.
    rewrite row_by_taps; auto; [|rewrite E; reflexivity|rewrite E; reflexivity]. unfold kernel_shape. rewrite E.
    pose proof A as [_ [_ [M Hn]]]. pose proof A' as [_ [_ [M' _]]].
    assert (T : forall t s, samples [a; a'] (modulo (map n_outputs [a; a']) (turned g h [y; x])) [t; s]
        = modulo (map n_samples [a; a']) (turned g h (samples [a; a'] [y; x] [t; s]))
      <-> modulo (map n_samples [a; a']) (turned g h (positions [a; a'] (map (fun _ => 0) [a; a']) [t; s]))
        = modulo (map n_samples [a; a']) (positions [a; a'] (map (fun _ => 0) [a; a']) [t; s])).
    { intros t s. unfold samples, positions, modulo. cbn [map on_axes pairwise turned].
      rewrite !same_head, M', M, S, !same_remainder by assumption.
      pose proof (turning_in_place a a' g h y x t s A A' S) as Q. cbv zeta in Q. tauto. }
    split; intros H t Ht; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; inversion Ht' as [|? t1 ? t2 Ht1 Ht'']; subst;
      inversion Ht''; subst; apply T; apply H; exact Ht.
Qed.
Print Assumptions no_scaling_or_rotation_theorem.
