(* Equivariance: a layer follows a move of its input, for all weights and inputs, if and only if each of its taps does. *)
From Coq Require Import ZArith List Lia Bool Ring.
From Convmatrix Require Import Sums Rule Layers.
Import ListNotations.
Open Scope Z_scope.

(* The row of output (o, i') is the row of output (o, i) with the input moved by p: for all weights, biases and inputs,
   output i' is what output i is of the input that is read at the places p j. *)
Definition row_moves (K : commutative_ring) (l : layer) (p : list Z -> list Z) (o : Z) (i' i : list Z) : Prop :=
  forall (w : weights K) (b : Z -> K) (x : array K), apply l w b x o i' = apply l w b (at_places p x) o i.

(* The layer commutes with a move: this holds in every channel for output q i of every output i. *)
Definition commutes (K : commutative_ring) (l : layer) (q p : list Z -> list Z) : Prop :=
  forall o i, 0 <= o < out_channels l -> within (output_shape l) i -> row_moves K l p o (q i) i.

(* Tap t of output i' reads what tap t of output i reads, moved by p, and with the same weight; or both read nothing. *)
Definition tap_moves (axes : list axis) (p : list Z -> list Z) (i' i t : list Z) : Prop :=
  present (samples axes i' t) = false /\ present (samples axes i t) = false
  \/ present (samples axes i' t) = true /\ present (samples axes i t) = true
     /\ samples axes i' t = p (samples axes i t) /\ weight_index axes i' t = weight_index axes i t.

(* The same on one axis, for all of its outputs and taps. *)
Definition axis_moves (a : axis) (q p : Z -> Z) : Prop := forall i t, 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  weight a (q i) t = weight a i t /\
  (sample a (q i) t < 0 /\ sample a i t < 0
   \/ 0 <= sample a (q i) t /\ 0 <= sample a i t /\ sample a (q i) t = p (sample a i t)).

(* Different taps use different weights. *)
Definition distinct_weights (a : axis) : Prop := forall i i' t u,
  0 <= t < n_taps a -> 0 <= u < n_taps a -> weight a i t = weight a i' u -> t = u.

(* A property of each axis and what belongs to it in two lists, which are as long as the list of axes. *)
Inductive each_axis {B C} (P : axis -> B -> C -> Prop) : list axis -> list B -> list C -> Prop :=
| no_axis : each_axis P [] [] []
| next_axis a axes b bs c cs : P a b c -> each_axis P axes bs cs -> each_axis P (a :: axes) (b :: bs) (c :: cs).

(* --- if --- *)

Theorem row_moves_if (K : commutative_ring) (l : layer) p o i' i :
  (forall t, within (kernel_shape l) t -> tap_moves (axes l) p i' i t) -> row_moves K l p o i' i.
Proof.
  intros H w b x. unfold apply. f_equal. apply sum_ext; intros c _. apply sum_ext; intros t Ht.
  apply in_grid in Ht. unfold read, at_places. destruct (H t Ht) as [[-> ->]|[-> [-> [-> ->]]]]; [|reflexivity].
  rewrite !mul_zero. reflexivity.
Qed.

Lemma taps_move axes qs ps : each_axis axis_moves axes qs ps -> forall i t, within (map n_outputs axes) i ->
  within (map n_taps axes) t -> tap_moves axes (each ps) (each qs i) i t.
Proof.
  unfold tap_moves, samples, weight_index.
  induction 1 as [|a axes q qs p ps H _ IH]; simpl; intros i t Hi Ht; inversion Hi as [|? i0 ? i1 Hi0 Hi1]; subst;
    inversion Ht as [|? t0 ? t1 Ht0 Ht1]; subst; simpl; [right; auto|].
  specialize (IH i1 t1 Hi1 Ht1). destruct (H i0 t0 Hi0 Ht0) as [W [[S S']|[S [S' E]]]].
  - left. split; apply andb_false_intro1, Z.leb_gt; assumption.
  - apply Z.leb_le in S, S'. rewrite S, S', E, W. destruct IH as [[-> ->]|[-> [-> [-> ->]]]]; auto.
Qed.

(* From the axes to the layer: all weights, biases, inputs, channels and groups, any number of axes. *)
Theorem commutes_if (K : commutative_ring) (l : layer) qs ps :
  each_axis axis_moves (axes l) qs ps -> commutes K l (each qs) (each ps).
Proof. intros H o i _ Hi. apply row_moves_if. intros t Ht. apply taps_move; auto. Qed.

(* Shifts: by b on the outputs and by c on the samples, one amount per axis. *)
Lemma each_axis_of_shifts (P : axis -> (Z -> Z) -> (Z -> Z) -> Prop) axes b c :
  length b = length axes -> length c = length axes ->
  each_axis (fun a b c => P a (rolled (n_outputs a) b) (rolled (n_samples a) c)) axes b c
  <-> each_axis P axes (pairwise rolled (map n_outputs axes) b) (pairwise rolled (map n_samples axes) c).
Proof.
  revert b c. induction axes as [|a axes IH]; intros [|b bs] [|c cs]; try discriminate; simpl; intros Hb Hc.
  - split; constructor.
  - split; inversion 1; subst; constructor; auto; apply IH; auto; lia.
Qed.
Lemma each_axis_impl {B C} (P Q : axis -> B -> C -> Prop) axes b c :
  (forall a b c, In a axes -> P a b c -> Q a b c) -> each_axis P axes b c -> each_axis Q axes b c.
Proof. intros H E. induction E; constructor; simpl in *; auto. Qed.

Theorem shifts_commute_if (K : commutative_ring) (l : layer) b c :
  each_axis (fun a b c => axis_moves a (rolled (n_outputs a) b) (rolled (n_samples a) c)) (axes l) b c ->
  commutes K l (shift (output_shape l) b) (shift (input_shape l) c).
Proof.
  intro H. apply commutes_if. assert (L : length b = length (axes l) /\ length c = length (axes l)).
  { induction H; simpl; lia. }
  apply each_axis_of_shifts; tauto.
Qed.

(* An axis with stride s on a ring of s m samples, with m outputs. *)
Definition ring_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ n_samples a = stride a * n_outputs a
  /\ 1 <= n_outputs a /\ 1 <= stride a /\ 1 <= dilation a.
(* What the lemma on strided shifts says. *)
Definition strided_shift_rule : Prop := forall m k s d p i t b : Z, 1 <= m -> 1 <= s -> 0 <= i < m -> 0 <= t < k -> 1 <= d ->
  sample (Axis m (s * m) k s d p circular false 1) ((i + b) mod m) t
  = (sample (Axis m (s * m) k s d p circular false 1) i t + s * b) mod (s * m).

Lemma ring_axis_present (a : axis) : ring_axis a -> 1 <= n_samples a /\ axis_boundary a <> zero.
Proof. intros [B [E [H [S _]]]]. rewrite E, B. split; [nia|discriminate]. Qed.

Lemma ring_axis_moves (rule : strided_shift_rule) (a : axis) (i t b : Z) :
  ring_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  sample a (rolled (n_outputs a) b i) t = rolled (n_samples a) (stride a * b) (sample a i t).
Proof.
  destruct a as [m n k s d p e f r]. unfold ring_axis; simpl. intros [-> [-> [Hm [Hs Hd]]]] Hi Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (sample_unflipped a i), (sample_unflipped a (rolled m b i)).
  apply (true_tap_within a) in Ht. exact (rule m k s d p i _ b Hm Hs Hi Ht Hd).
Qed.

Lemma ring_axes_commute (rule : strided_shift_rule) (K : commutative_ring) (l : layer) b c :
  Forall ring_axis (axes l) ->
  each_axis (fun a b c => (forall i t, 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
    weight a (rolled (n_outputs a) b i) t = weight a i t) /\ (c - stride a * b) mod n_samples a = 0) (axes l) b c ->
  commutes K l (shift (output_shape l) b) (shift (input_shape l) c).
Proof.
  intros A H. rewrite Forall_forall in A. apply shifts_commute_if. revert H.
  apply each_axis_impl. intros a b0 c0 I [W E] i t Hi Ht. specialize (A a I). split; [apply W; assumption|right].
  destruct (ring_axis_present a A) as [S Z]. repeat split; try (apply sample_not_negative; assumption).
  rewrite (ring_axis_moves rule a i t b0) by assumption. apply rolled_same; assumption.
Qed.

(* An untiled axis has one kernel. *)
Lemma untiled_weight a i t : tile a = 1 -> weight a i t = t.
Proof. unfold weight. intros ->. rewrite Z.mod_1_r. reflexivity. Qed.

(* --- only if --- *)

Lemma weight_index_distinct axes : Forall distinct_weights axes -> forall i i' t u,
  length i = length axes -> length i' = length axes -> within (map n_taps axes) t -> within (map n_taps axes) u ->
  weight_index axes i t = weight_index axes i' u -> t = u.
Proof.
  unfold weight_index. induction 1 as [|a axes D _ IH]; intros [|i0 i] [|j0 j] t u Hi Hj Ht Hu; try discriminate;
    inversion Ht; inversion Hu; subst; simpl; auto.
  injection 1 as E E'. simpl in Hi, Hj. f_equal; [apply (D i0 j0) | apply (IH i j)]; auto; lia.
Qed.

Section Units.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* The weight that is 1 at one place, and the input that is 1 at one place of every channel. *)
Definition unit_weight (c : Z) (v : list Z) : weights K := fun _ c' v' =>
  if Z.eq_dec c' c then if same_place v' v then 1%K else 0%K else 0%K.
Definition unit_input (j : list Z) : array K := fun _ j' => if same_place j' j then 1%K else 0%K.

(* A layer with a unit weight reads one tap. *)
Lemma apply_unit_weight l b (x : array K) o i c t v :
  0 <= c < group_inputs l -> within (kernel_shape l) t ->
  (forall u, within (kernel_shape l) u -> weight_index (axes l) i u = v -> u = t) ->
  apply l (unit_weight c v) b x o i = (b o + if same_place (weight_index (axes l) i t) v
    then read (x (input_channel l o c)) (samples (axes l) i t) else 0)%K.
Proof.
  intros Hc Ht H. unfold apply. f_equal. rewrite (sum_single _ c); [|apply range_distinct|apply in_range; auto|].
  - rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; auto|].
    + unfold unit_weight. destruct (Z.eq_dec c c); [|congruence]. destruct (same_place _ v); ring.
    + intros u Hu N. apply in_grid in Hu. unfold unit_weight. destruct (Z.eq_dec c c); [|congruence].
      destruct (same_place _ v) as [E|_]; [|ring]. destruct N; auto.
  - intros c' _ N. apply sum_zero; intros u _. unfold unit_weight. destruct (Z.eq_dec c' c); [congruence|ring].
Qed.
End Units.

(* Conversely, a row that moves along for all weights and inputs has taps that do: try unit weights and unit inputs. *)
Theorem row_moves_only_if (K : commutative_ring) (l : layer) p o i' i :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> Forall distinct_weights (axes l) ->
  length i' = length (axes l) -> length i = length (axes l) -> row_moves K l p o i' i ->
  forall t, within (kernel_shape l) t -> tap_moves (axes l) p i' i t.
Proof.
  intros N G D Li' Li H t Ht. unfold tap_moves.
  assert (U : forall v j, weight_index (axes l) i' t = v \/ weight_index (axes l) i t = v ->
    (if same_place (weight_index (axes l) i' t) v then read (unit_input j 0%Z) (samples (axes l) i' t) else 0 : K)%K
    = (if same_place (weight_index (axes l) i t) v then read (at_places p (unit_input j) 0%Z) (samples (axes l) i t) else 0)%K).
  { intros v j V. specialize (H (unit_weight 0 v) no_bias (unit_input j)).
    rewrite (apply_unit_weight l _ _ o i' 0 t v), (apply_unit_weight l _ _ o i 0 t v) in H; try assumption; try lia.
    - unfold no_bias in H. rewrite !add_zero in H. exact H.
    - intros u Hu E. destruct V as [V|V]; subst v; refine (weight_index_distinct _ D _ _ _ _ _ _ Hu Ht E); assumption.
    - intros u Hu E. destruct V as [V|V]; subst v; refine (weight_index_distinct _ D _ _ _ _ _ _ Hu Ht E); assumption. }
  destruct (present (samples (axes l) i' t)) eqn:P'; destruct (present (samples (axes l) i t)) eqn:P; auto; [right| |];
    [specialize (U (weight_index (axes l) i' t) (samples (axes l) i' t) (or_introl eq_refl))
    |specialize (U (weight_index (axes l) i' t) (samples (axes l) i' t) (or_introl eq_refl))
    |specialize (U (weight_index (axes l) i t) (p (samples (axes l) i t)) (or_intror eq_refl))];
    unfold read, unit_input, at_places in U; rewrite P, P' in U;
    repeat match goal with E : context [if ?c then _ else _] |- _ => destruct c end;
    try (exfalso; congruence); repeat split; congruence.
Qed.

(* Output 0 at tap 0, on each axis. *)
Lemma first_within (f : axis -> Z) axes :
  Forall (fun a => 1 <= f a) axes -> within (map f axes) (map (fun _ => 0) axes).
Proof. induction 1; simpl; constructor; auto. lia. Qed.
Lemma first_tap_moves axes qs ps :
  length qs = length axes -> length ps = length axes ->
  Forall (fun a => 1 <= n_samples a /\ axis_boundary a <> zero) axes ->
  tap_moves axes (each ps) (each qs (map (fun _ => 0) axes)) (map (fun _ => 0) axes) (map (fun _ => 0) axes) ->
  each_axis (fun a q p => sample a (q 0) 0 = p (sample a 0 0) /\ weight a (q 0) 0 = weight a 0 0) axes qs ps.
Proof.
  unfold tap_moves, samples, weight_index. intros Lq Lp F [[H _]|[_ [_ [S W]]]].
  - pose proof (always_present axes (each qs (map (fun _ => 0) axes)) (map (fun _ => 0) axes) F). unfold samples in *. congruence.
  - clear F. revert qs ps Lq Lp S W.
    induction axes as [|a axes IH]; intros [|q qs] [|p ps]; try discriminate; simpl; constructor.
    + split; congruence.
    + apply IH; try lia; congruence.
Qed.

(* A layer without zero boundaries that commutes with a shift has a rule that does, on each axis. *)
Theorem shifts_commute_only_if (K : commutative_ring) (l : layer) b c :
  (1 <> 0 :> K)%K -> 1 <= group_inputs l -> 1 <= out_channels l ->
  Forall (fun a => 1 <= n_samples a /\ axis_boundary a <> zero) (axes l) ->
  Forall (fun a => 1 <= n_outputs a /\ 1 <= n_taps a) (axes l) -> Forall distinct_weights (axes l) ->
  length b = length (axes l) -> length c = length (axes l) ->
  commutes K l (shift (output_shape l) b) (shift (input_shape l) c) ->
  each_axis (fun a b c => sample a (rolled (n_outputs a) b 0) 0 = rolled (n_samples a) c (sample a 0 0)
    /\ weight a (rolled (n_outputs a) b 0) 0 = weight a 0 0) (axes l) b c.
Proof.
  intros N G O F T D Lb Lc H.
  apply (each_axis_of_shifts (fun a q p => sample a (q 0) 0 = p (sample a 0 0) /\ weight a (q 0) 0 = weight a 0 0)); auto.
  apply first_tap_moves; try (rewrite pairwise_length, map_length; rewrite ?map_length; auto; fail); auto. specialize (H 0 (map (fun _ => 0) (axes l)) ltac:(lia)).
  apply (row_moves_only_if K l _ 0); auto.
  - etransitivity; [apply (shift_length (output_shape l) b)|]; unfold output_shape; rewrite ?map_length; auto.
  - apply map_length.
  - apply H, first_within. eapply Forall_impl; [|exact T]. simpl; tauto.
  - apply first_within. eapply Forall_impl; [|exact T]. simpl; tauto.
Qed.
