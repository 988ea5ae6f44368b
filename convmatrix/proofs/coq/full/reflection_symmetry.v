(* Theorem reflection-symmetry, in full.

   A layer with any number of axes, channels and groups, one kernel (no tiles) and any boundaries, weights, biases and
   inputs. Its windows lie symmetrically on the axes that are turned: (m - 1) s + d (k - 1) = n - 1 + 2 p.
   1. Reflecting any of these axes turns the layer into the layer with the kernel reflected on them. So if the kernel is
      equal to its reflection, the layer commutes with the reflection.
   2. Conversely, if the layer commutes with the reflection for all inputs, and the window of some output lies inside the
      input, the kernel is equal to its reflection.
   3. and 4. The same for a quarter turn of two equal axes. *)
From Coq Require Import ZArith List Lia Bool ZifyBool Ring.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_reflection_symmetry.
Import ListNotations.
Open Scope Z_scope.

Definition centred (a : axis) : Prop :=
  (n_outputs a - 1) * stride a + dilation a * (n_taps a - 1) = n_samples a - 1 + 2 * pad_low a.
Definition single_kernel (a : axis) : Prop := tile a = 1 /\ 1 <= n_samples a.

(* The reflection of the axes that are marked: n - 1 - i for i. *)
Definition mirror (sizes : list Z) (marked : list bool) : list Z -> list Z :=
  each (pairwise (fun n (f : bool) i => if f then n - 1 - i else i) sizes marked).
(* The quarter turn of the first two axes, of n places each, and the turn back. *)
Definition turn (sizes place : list Z) : list Z :=
  match sizes, place with n :: _, i :: j :: rest => j :: n - 1 - i :: rest | _, _ => place end.
Definition turn_back (sizes place : list Z) : list Z :=
  match sizes, place with n :: _, i :: j :: rest => n - 1 - j :: i :: rest | _, _ => place end.

(* The kernel with its taps moved. *)
Definition moved_kernel {K} (q : list Z -> list Z) (w : weights K) : weights K := fun o c t => w o c (q t).
(* The kernels of two weights agree. *)
Definition same_kernel {K} (l : layer) (w w' : weights K) : Prop := forall o c t,
  0 <= o < out_channels l -> 0 <= c < group_inputs l -> within (kernel_shape l) t -> w o c t = w' o c t.
(* The window of output i lies inside the input. *)
Definition window_inside (l : layer) (i : list Z) : Prop :=
  within (output_shape l) i /\ forall t, within (kernel_shape l) t -> within (input_shape l) (positions (axes l) i t).

(* A layer with given weights commutes with a move of outputs and inputs. *)
Definition layer_commutes {K : commutative_ring} (l : layer) (w : weights K) (q p : list Z -> list Z) : Prop :=
  forall (b : Z -> K) (x : array K) o i, 0 <= o < out_channels l -> within (output_shape l) i ->
  apply l w b x o (q i) = apply l w b (at_places p x) o i.
(* Moving outputs and inputs turns the layer into that with the kernel moved. *)
Definition turns {K : commutative_ring} (l : layer) (w : weights K) (q p r : list Z -> list Z) : Prop :=
  forall (b : Z -> K) (x : array K) o i, 0 <= o < out_channels l -> within (output_shape l) i ->
  apply l w b x o (q i) = apply l (moved_kernel r w) b (at_places p x) o i.

Lemma untiled_index axes i t : Forall single_kernel axes -> length i = length axes -> within (map n_taps axes) t ->
  weight_index axes i t = t.
Proof.
  intro F. unfold weight_index. revert i t. induction F as [|a axes [U _] F IH]; intros [|i0 i] t L Ht; try discriminate;
    inversion Ht; subst; simpl; [reflexivity|]. rewrite untiled_weight by assumption. f_equal. apply IH; auto.
Qed.

Lemma output_length l i : within (output_shape l) i -> length i = length (axes l).
Proof. intro H. apply within_length in H. unfold output_shape in H. rewrite map_length in H. exact H. Qed.

Section General.
Context {K : commutative_ring} (l : layer).
Add Ring K_ring : (ring_laws K).
Hypothesis F : Forall single_kernel (axes l).

Lemma same_kernel_apply (w w' : weights K) b x o i : same_kernel l w w' -> 0 <= o < out_channels l ->
  within (output_shape l) i -> apply l w b x o i = apply l w' b x o i.
Proof.
  intros S Ho Hi. unfold apply. f_equal. apply sum_ext; intros c Hc. apply sum_ext; intros t Ht.
  apply in_range in Hc. apply in_grid in Ht. rewrite untiled_index by auto using output_length. rewrite S; auto.
Qed.

(* Outputs moved by q, samples by p and taps by r, with inverse r', together. *)
Variables q p r r' : list Z -> list Z.
Hypothesis Q : forall i, within (output_shape l) i -> within (output_shape l) (q i).
Hypothesis R : forall t, within (kernel_shape l) t -> within (kernel_shape l) (r t) /\ r' (r t) = t.
Hypothesis R' : forall t, within (kernel_shape l) t -> within (kernel_shape l) (r' t) /\ r (r' t) = t.
Hypothesis M : forall i t, within (output_shape l) i -> within (kernel_shape l) t ->
  present (samples (axes l) (q i) (r t)) = present (samples (axes l) i t)
  /\ (present (samples (axes l) i t) = true -> samples (axes l) (q i) (r t) = p (samples (axes l) i t)).

Lemma turns_if (w : weights K) : turns l w q p r.
Proof.
  intros b x o i Ho Hi. unfold apply. f_equal. apply sum_ext; intros c _.
  rewrite (sum_bijection (grid (kernel_shape l)) (grid (kernel_shape l)) r r').
  - apply sum_ext; intros t Ht. apply in_grid in Ht. destruct (R t Ht) as [Rt _]. destruct (M i t Hi Ht) as [E E'].
    pose proof (output_length l _ Hi). pose proof (output_length l _ (Q i Hi)).
    rewrite !untiled_index by assumption. unfold moved_kernel, read, at_places. rewrite E.
    destruct (present (samples (axes l) i t)); [|reflexivity]. rewrite E' by reflexivity. reflexivity.
  - apply grid_distinct.
  - apply grid_distinct.
  - intros t Ht. apply in_grid in Ht. rewrite in_grid. apply R; assumption.
  - intros t Ht. apply in_grid in Ht. rewrite in_grid. apply R'; assumption.
Qed.

Lemma commutes_if_kernel (w : weights K) : same_kernel l (moved_kernel r w) w -> layer_commutes l w q p.
Proof. intros S b x o i Ho Hi. rewrite turns_if by assumption. apply same_kernel_apply; assumption. Qed.

(* What is 1 at one place of one channel. *)
Definition one_at (h : Z) (j : list Z) : array K := fun h' j' =>
  if Z.eq_dec h' h then if same_place j' j then 1%K else 0%K else 0%K.

(* An output reads the weight of a tap whose sample no other tap reads, where the input is one at that sample. *)
Lemma apply_one_at (w : weights K) b o i c t : 0 <= c < group_inputs l -> within (output_shape l) i -> within (kernel_shape l) t ->
  (forall j j', within (input_shape l) j -> within (input_shape l) j' -> p j = p j' -> j = j') ->
  (forall u, within (kernel_shape l) u -> within (input_shape l) (samples (axes l) i u) /\ present (samples (axes l) i u) = true
    /\ (samples (axes l) i u = samples (axes l) i t -> u = t)) ->
  apply l w b (at_places p (one_at (input_channel l o c) (p (samples (axes l) i t)))) o i = (b o + w o c t)%K.
Proof.
  intros Hc Hi Ht P S. unfold apply. f_equal. unfold at_places, one_at.
  rewrite (sum_single _ c); [|apply range_distinct|apply in_range; assumption|].
  - rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
    + rewrite untiled_index by auto using output_length. unfold read. destruct (S t Ht) as [_ [-> _]].
      destruct (Z.eq_dec _ _); [|congruence]. destruct (same_place _ _); [|congruence]. ring.
    + intros u Hu N. apply in_grid in Hu. destruct (S u Hu) as [Wu [Pu E]]. unfold read. rewrite Pu.
      destruct (Z.eq_dec _ _); [|ring]. destruct (same_place _ _) as [E'|]; [|ring].
      destruct N. apply E. apply P; auto. apply S. exact Ht.
  - intros c' _ N. apply sum_zero; intros u _. unfold read. destruct (present _); [|ring].
    destruct (Z.eq_dec _ _) as [E|]; [|ring]. unfold input_channel in E. lia.
Qed.

Lemma kernel_if_commutes (w : weights K) i : window_inside l i -> Forall (fun a => 1 <= dilation a) (axes l) ->
  (forall j j', within (input_shape l) j -> within (input_shape l) j' -> p j = p j' -> j = j') ->
  layer_commutes l w q p -> same_kernel l (moved_kernel r w) w.
Proof.
  intros [Hi W] D P C o c t Ho Hc Ht. pose proof (output_length l i Hi) as Li.
  assert (S : forall u, within (kernel_shape l) u -> samples (axes l) i u = positions (axes l) i u
    /\ present (samples (axes l) i u) = true).
  { intros u Hu. specialize (W u Hu). unfold kernel_shape, input_shape, samples, positions in *. clear -F Li Hu W.
    revert i u Li Hu W. induction F as [|a axes [_ N] _ IH]; intros [|i0 i] u Li Hu W; try discriminate;
      inversion Hu as [|? u0 ? us Hu0 Hu']; subst; simpl; [auto|]. simpl in W. inversion W as [|? ? ? ? W0 W']; subst.
    destruct (IH ltac:(inversion F; assumption) i us ltac:(auto) Hu' W') as [-> ->].
    assert (E : sample a i0 u0 = position a i0 u0).
    { unfold sample. destruct (axis_boundary a).
      - exact (reflection_symmetry_zero_inside _ _ N W0).
      - exact (reflection_symmetry_circular_inside _ _ N W0).
      - exact (reflection_symmetry_reflect_inside _ _ N W0).
      - exact (reflection_symmetry_symmetric_inside _ _ N W0).
      - exact (reflection_symmetry_replicate_inside _ _ N W0). }
    rewrite E. split; [reflexivity|]. rewrite andb_true_r. apply Z.leb_le. lia. }
  assert (U : forall u v, within (kernel_shape l) u -> within (kernel_shape l) v ->
    positions (axes l) i u = positions (axes l) i v -> u = v).
  { unfold kernel_shape, positions. clear -D Li. revert i Li. induction D as [|a axes Da D IH]; intros [|i0 i] Li u v Hu Hv E;
      try discriminate; inversion Hu as [|? u0 ? us Hu0 Hu']; inversion Hv as [|? v0 ? vs Hv0 Hv']; subst; [reflexivity|].
    simpl in E. injection E as E E'. f_equal; [|apply (IH i); auto].
    rewrite <- (true_tap_twice a u0), <- (true_tap_twice a v0). f_equal.
    rewrite (position_unflipped a i0 u0), (position_unflipped a i0 v0) in E. apply true_tap_within in Hu0, Hv0.
    exact (reflection_symmetry_distinct_taps (n_outputs a) (n_samples a) (n_taps a) (stride a) _ (pad_low a) i0 _ _ Da Hu0 Hv0 E). }
  assert (V : forall u, within (kernel_shape l) u -> within (input_shape l) (samples (axes l) i u)
    /\ present (samples (axes l) i u) = true /\ (samples (axes l) i u = samples (axes l) i t -> u = t)).
  { intros u Hu. destruct (S u Hu) as [Eu Pu]. destruct (S t Ht) as [Et _]. rewrite Eu at 1.
    split; [apply W; assumption|split; [assumption|]]. rewrite Eu, Et. apply U; assumption. }
  set (x := one_at (input_channel l o c) (p (samples (axes l) i t))).
  pose proof (turns_if w no_bias x o i Ho Hi) as E. rewrite (C no_bias x o i Ho Hi) in E. unfold x in E.
  rewrite !apply_one_at in E by assumption. unfold no_bias in E. rewrite !add_zero in E. symmetry. exact E.
Qed.
End General.

(* --- reflections --- *)

Lemma sample_mirror (a : axis) i t : 1 <= n_samples a -> centred a ->
  sample a (n_outputs a - 1 - i) (n_taps a - 1 - t)
  = (if sample a i t <? 0 then sample a i t else n_samples a - 1 - sample a i t).
Proof.
  intros N C. assert (P : position a (n_outputs a - 1 - i) (n_taps a - 1 - t) = n_samples a - 1 - position a i t).
  { rewrite (position_unflipped a i t), (position_unflipped a _ (n_taps a - 1 - t)). replace (true_tap a (n_taps a - 1 - t)) with (n_taps a - 1 - true_tap a t)
      by (unfold true_tap; destruct (flip a); lia).
    exact (reflection_symmetry_positions (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a) i _ C). }
  assert (B : forall b x, b <> zero -> (if read_sample b x (n_samples a) <? 0 then read_sample b x (n_samples a)
      else n_samples a - 1 - read_sample b x (n_samples a)) = n_samples a - 1 - read_sample b x (n_samples a)).
  { intros b x Z. destruct (read_sample_range b x _ N) as [[_ E]|E]; [contradiction|].
    destruct (Z.ltb_spec (read_sample b x (n_samples a)) 0); lia. }
  unfold sample. rewrite P. destruct (axis_boundary a); [|rewrite B by discriminate ..].
  - exact (reflection_symmetry_zero_boundary _ _ N).
  - exact (reflection_symmetry_circular_boundary _ _ N).
  - exact (reflection_symmetry_reflect_boundary _ _ N).
  - exact (reflection_symmetry_symmetric_boundary _ _ N).
  - exact (reflection_symmetry_replicate_boundary _ _ N).
Qed.

Lemma mirrored_present n s : s < n -> (0 <=? (if s <? 0 then s else n - 1 - s)) = (0 <=? s).
Proof. intro H. destruct (Z.ltb_spec s 0); destruct (Z.leb_spec 0 s); lia. Qed.

Lemma sample_below (a : axis) i t : 1 <= n_samples a -> sample a i t < n_samples a.
Proof. intro N. destruct (sample_range a i t N) as [[E _]|E]; lia. Qed.

Lemma mirror_within sizes marked place : length marked = length sizes -> within sizes place ->
  within sizes (mirror sizes marked place) /\ mirror sizes marked (mirror sizes marked place) = place.
Proof.
  unfold mirror. intros L H. revert marked L. induction H as [|n i sizes is Hi H IH]; intros [|f marked] L; try discriminate;
    simpl; [split; [constructor|reflexivity]|]. destruct (IH marked ltac:(auto)) as [W E].
  split; [constructor; [destruct f; lia|exact W]|]. rewrite E. f_equal. destruct f; lia.
Qed.

Lemma samples_mirror axes marked i t : Forall single_kernel axes -> length marked = length axes ->
  Forall2 (fun a (f : bool) => f = true -> centred a) axes marked ->
  length i = length axes -> within (map n_taps axes) t ->
  present (samples axes (mirror (map n_outputs axes) marked i) (mirror (map n_taps axes) marked t)) = present (samples axes i t)
  /\ (present (samples axes i t) = true ->
      samples axes (mirror (map n_outputs axes) marked i) (mirror (map n_taps axes) marked t)
      = mirror (map n_samples axes) marked (samples axes i t)).
Proof.
  unfold samples, mirror. intros F _ C. revert F i t. induction C as [|a f axes marked Ca C IH]; intros F [|i0 i] t Li Ht;
    try discriminate; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; [simpl; auto|].
  inversion F as [|? ? [_ N] F']; subst. destruct (IH F' i ts ltac:(auto) Ht') as [P E]. cbn [map pairwise each on_axes].
  simpl present. rewrite P. destruct f.
  - rewrite (sample_mirror a i0 t0 N (Ca eq_refl)).
    pose proof (mirrored_present (n_samples a) (sample a i0 t0) (sample_below a i0 t0 N)) as M.
    split; [rewrite M; reflexivity|]. intro H. apply andb_prop in H. destruct H as [H H'].
    rewrite (E H'). f_equal. apply Z.leb_le in H. destruct (Z.ltb_spec (sample a i0 t0) 0); lia.
  - split; [reflexivity|]. intro H. apply andb_prop in H. destruct H as [_ H']. rewrite (E H'). reflexivity.
Qed.

(* --- quarter turns --- *)

Lemma turn_within n sizes place : within (n :: n :: sizes) place ->
  within (n :: n :: sizes) (turn (n :: n :: sizes) place) /\ turn_back (n :: n :: sizes) (turn (n :: n :: sizes) place) = place.
Proof.
  intro H. inversion H as [|? i ? is Hi H']; subst. inversion H' as [|? j ? js Hj H'']; subst. simpl. split.
  - constructor; [assumption|]. constructor; [lia|assumption].
  - f_equal. lia.
Qed.
Lemma turn_injective n sizes j j' : within (n :: n :: sizes) j -> within (n :: n :: sizes) j' ->
  turn (n :: n :: sizes) j = turn (n :: n :: sizes) j' -> j = j'.
Proof. intros H H' E. apply turn_within in H, H'. destruct H as [_ H], H' as [_ H']. congruence. Qed.
Lemma turn_back_within n sizes place : within (n :: n :: sizes) place ->
  within (n :: n :: sizes) (turn_back (n :: n :: sizes) place) /\ turn (n :: n :: sizes) (turn_back (n :: n :: sizes) place) = place.
Proof.
  intro H. inversion H as [|? i ? is Hi H']; subst. inversion H' as [|? j ? js Hj H'']; subst. simpl. split.
  - constructor; [lia|]. constructor; assumption.
  - do 2 f_equal. lia.
Qed.

Lemma samples_turn a axes i t : 1 <= n_samples a -> centred a ->
  within (map n_outputs (a :: a :: axes)) i -> within (map n_taps (a :: a :: axes)) t ->
  present (samples (a :: a :: axes) (turn (map n_outputs (a :: a :: axes)) i) (turn (map n_taps (a :: a :: axes)) t))
    = present (samples (a :: a :: axes) i t)
  /\ (present (samples (a :: a :: axes) i t) = true ->
      samples (a :: a :: axes) (turn (map n_outputs (a :: a :: axes)) i) (turn (map n_taps (a :: a :: axes)) t)
      = turn (map n_samples (a :: a :: axes)) (samples (a :: a :: axes) i t)).
Proof.
  intros N C Hi Ht. inversion Hi as [|? i0 ? is Hi0 H']; subst. inversion H' as [|? i1 ? i2 Hi1 H'']; subst.
  inversion Ht as [|? t0 ? ts Ht0 T']; subst. inversion T' as [|? t1 ? t2 Ht1 T'']; subst.
  unfold samples. simpl. rewrite (sample_mirror a i0 t0 N C).
  rewrite (mirrored_present (n_samples a) (sample a i0 t0) (sample_below a i0 t0 N)).
  split; [destruct (0 <=? sample a i0 t0), (0 <=? sample a i1 t1); reflexivity|].
  intro H. apply andb_prop in H. destruct H as [H _]. apply Z.leb_le in H. do 2 f_equal.
  destruct (Z.ltb_spec (sample a i0 t0) 0); lia.
Qed.

Theorem reflection_symmetry_theorem (K : commutative_ring) (l : layer) (w : weights K) :
  Forall single_kernel (axes l) ->
  (forall marked, length marked = length (axes l) -> Forall2 (fun a (f : bool) => f = true -> centred a) (axes l) marked ->
    let outputs := mirror (output_shape l) marked in
    let inputs := mirror (input_shape l) marked in
    let taps := mirror (kernel_shape l) marked in
    turns l w outputs inputs taps
    /\ (same_kernel l (moved_kernel taps w) w -> layer_commutes l w outputs inputs)
    /\ (forall i, window_inside l i -> Forall (fun a => 1 <= dilation a) (axes l) ->
        layer_commutes l w outputs inputs -> same_kernel l (moved_kernel taps w) w))
  /\ (forall a rest, axes l = a :: a :: rest -> centred a ->
    let outputs := turn (output_shape l) in
    let inputs := turn (input_shape l) in
    let taps := turn (kernel_shape l) in
    turns l w outputs inputs taps
    /\ (same_kernel l (moved_kernel taps w) w -> layer_commutes l w outputs inputs)
    /\ (forall i, window_inside l i -> Forall (fun a => 1 <= dilation a) (axes l) ->
        layer_commutes l w outputs inputs -> same_kernel l (moved_kernel taps w) w)).
Proof.
  intro F. split.
  - intros marked L C outputs inputs taps.
    assert (Q : forall i, within (output_shape l) i -> within (output_shape l) (outputs i)).
    { intros i Hi. apply mirror_within; [unfold output_shape; rewrite map_length|]; assumption. }
    assert (R : forall t, within (kernel_shape l) t -> within (kernel_shape l) (taps t) /\ taps (taps t) = t).
    { intros t Ht. apply mirror_within; [unfold kernel_shape; rewrite map_length|]; assumption. }
    assert (M : forall i t, within (output_shape l) i -> within (kernel_shape l) t ->
      present (samples (axes l) (outputs i) (taps t)) = present (samples (axes l) i t)
      /\ (present (samples (axes l) i t) = true -> samples (axes l) (outputs i) (taps t) = inputs (samples (axes l) i t))).
    { intros i t Hi Ht. apply samples_mirror; auto using output_length. }
    split; [exact (turns_if l F outputs inputs taps taps Q R R M w)|].
    split; [exact (commutes_if_kernel l F outputs inputs taps taps Q R R M w)|].
    intros i W D. apply (kernel_if_commutes l F outputs inputs taps taps Q R R M w i W D).
    assert (I : forall j, within (input_shape l) j -> inputs (inputs j) = j).
    { intros j Hj. apply mirror_within; [unfold input_shape; rewrite map_length|]; assumption. }
    intros j j' Hj Hj' E. rewrite <- (I j Hj), <- (I j' Hj'), E. reflexivity.
  - intros a rest E C outputs inputs taps.
    assert (N : 1 <= n_samples a) by (rewrite E in F; inversion F as [|? ? [_ N] ?]; assumption).
    assert (Q : forall i, within (output_shape l) i -> within (output_shape l) (outputs i)).
    { unfold outputs, output_shape. rewrite E. intros i Hi. apply turn_within; assumption. }
    assert (R : forall t, within (kernel_shape l) t -> within (kernel_shape l) (taps t) /\ turn_back (kernel_shape l) (taps t) = t).
    { unfold taps, kernel_shape. rewrite E. intros t Ht. apply turn_within; assumption. }
    assert (R' : forall t, within (kernel_shape l) t ->
      within (kernel_shape l) (turn_back (kernel_shape l) t) /\ taps (turn_back (kernel_shape l) t) = t).
    { unfold taps, kernel_shape. rewrite E. intros t Ht. apply turn_back_within; assumption. }
    assert (M : forall i t, within (output_shape l) i -> within (kernel_shape l) t ->
      present (samples (axes l) (outputs i) (taps t)) = present (samples (axes l) i t)
      /\ (present (samples (axes l) i t) = true -> samples (axes l) (outputs i) (taps t) = inputs (samples (axes l) i t))).
    { unfold outputs, inputs, taps, output_shape, input_shape, kernel_shape. rewrite E.
      intros i t Hi Ht. apply samples_turn; auto. }
    split; [exact (turns_if l F outputs inputs taps _ Q R R' M w)|].
    split; [exact (commutes_if_kernel l F outputs inputs taps _ Q R R' M w)|].
    intros i W D. apply (kernel_if_commutes l F outputs inputs taps _ Q R R' M w i W D).
    unfold inputs, input_shape. rewrite E.
    exact (turn_injective (n_samples a) (map n_samples rest)).
Qed.
Print Assumptions reflection_symmetry_theorem.
