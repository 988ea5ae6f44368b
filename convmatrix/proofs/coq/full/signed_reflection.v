(* Theorem signed-reflection: with the antireflective or the antisymmetric boundary, reflecting a centred axis turns a layer into
   the one with the kernel reflected. For all weights, biases, inputs, channels, groups and any number of axes; those that
   are not reflected have any boundaries. *)
Require Import ZArith List Lia Bool Ring.
From Convmatrix Require Import Sums Rule Layers Signed Lemmas_signed_reflection Full_reflection_symmetry.
Import ListNotations.
Open Scope Z_scope.

(* An axis that is marked is centred and has a signed boundary. *)
Definition reflects (a : axis) (c : continuation) (marked : bool) : Prop :=
  marked = true -> centred a /\ exists b, c = signed b.
Fixpoint all_reflect (axes : list axis) (cs : list continuation) (marked : list bool) : Prop :=
  match axes, cs, marked with
  | [], [], [] => True
  | a :: axes, c :: cs, f :: marked => reflects a c f /\ all_reflect axes cs marked
  | _, _, _ => False
  end.

Section Reflection.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* One axis, by the lemmas: the reflected position reads the reflected samples with the same coefficients. *)
Lemma terms_mirror b n x (f : Z -> Z -> K) : 1 <= n ->
  sum (terms (signed b) (n - 1 - x) n) (fun term => f (fst term) (snd term))
  = sum (terms (signed b) x n) (fun term => f (n - 1 - fst term)%Z (snd term)).
Proof.
  intro N. unfold sum, terms, read_terms. destruct b; cbn [fold_right fst snd].
  - destruct (signed_reflection_antireflect_boundary n x N) as [[A A'] [[B B'] [C C']]].
    rewrite A, A', B, B', C, C'. ring.
  - destruct (signed_reflection_antisymmetric_boundary n x N) as [A A']. rewrite A, A'. ring.
Qed.

Lemma position_mirror a i t : centred a ->
  position a (n_outputs a - 1 - i) (n_taps a - 1 - t) = n_samples a - 1 - position a i t.
Proof.
  intro C. rewrite (position_unflipped a i t), (position_unflipped a _ (n_taps a - 1 - t)).
  replace (true_tap a (n_taps a - 1 - t)) with (n_taps a - 1 - true_tap a t) by (unfold true_tap; destruct (flip a); lia).
  exact (signed_reflection_positions (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a) i _ C).
Qed.

(* Every axis. *)
Lemma continued_mirror axes cs marked : Forall (fun a => 1 <= n_samples a) axes -> all_reflect axes cs marked ->
  forall x i t, length i = length axes -> length t = length axes ->
  continued (map n_samples axes) cs x
    (positions axes (mirror (map n_outputs axes) marked i) (mirror (map n_taps axes) marked t))
  = continued (map n_samples axes) cs (fun j => x (mirror (map n_samples axes) marked j)) (positions axes i t) :> K.
Proof.
  unfold positions, mirror. intro N. revert cs marked. induction N as [|a axes Na N IH];
    intros [|c cs] [|f marked] A x [|i0 i] [|t0 t] Li Lt; simpl in A; try contradiction; try discriminate; [reflexivity|].
  destruct A as [A As]. injection Li as Li. injection Lt as Lt. cbn [map pairwise each on_axes continued]. destruct f.
  - destruct (A eq_refl) as [C [b ->]]. rewrite (position_mirror a i0 t0 C).
    set (rest := on_axes position axes (each _ i) (each _ t)).
    rewrite (terms_mirror b (n_samples a) (position a i0 t0)
      (fun s e => integer e * continued (map n_samples axes) cs (fun j => x (s :: j)) rest)%K Na). unfold rest.
    apply sum_ext. intros term _. f_equal. rewrite IH by assumption. reflexivity.
  - apply sum_ext. intros term _. f_equal. rewrite IH by assumption. reflexivity.
Qed.

Theorem signed_reflection_theorem (l : layer) (cs : list continuation) (marked : list bool) (w : weights K) :
  Forall single_kernel (axes l) -> all_reflect (axes l) cs marked ->
  let outputs := mirror (output_shape l) marked in
  let inputs := mirror (input_shape l) marked in
  let taps := mirror (kernel_shape l) marked in
  (forall b x o i, 0 <= o < out_channels l -> within (output_shape l) i ->
    apply_continued l cs w b x o (outputs i) = apply_continued l cs (moved_kernel taps w) b (at_places inputs x) o i)
  /\ (same_kernel l (moved_kernel taps w) w -> forall b x o i, 0 <= o < out_channels l -> within (output_shape l) i ->
    apply_continued l cs w b x o (outputs i) = apply_continued l cs w b (at_places inputs x) o i).
Proof.
  intros F A outputs inputs taps.
  assert (L : length marked = length (axes l)).
  { clear -A. revert cs marked A. induction (axes l) as [|a axes IH]; intros [|c cs] [|f marked] A; simpl in *;
      try contradiction; [reflexivity|]. f_equal. apply (IH cs). apply A. }
  assert (R : forall t, within (kernel_shape l) t -> within (kernel_shape l) (taps t) /\ taps (taps t) = t).
  { intros t Ht. apply mirror_within; [unfold kernel_shape; rewrite map_length|]; assumption. }
  assert (Q : forall i, within (output_shape l) i -> within (output_shape l) (outputs i)).
  { intros i Hi. apply mirror_within; [unfold output_shape; rewrite map_length|]; assumption. }
  assert (T : forall b x o i, 0 <= o < out_channels l -> within (output_shape l) i ->
    apply_continued l cs w b x o (outputs i) = apply_continued l cs (moved_kernel taps w) b (at_places inputs x) o i).
  { intros b x o i Ho Hi. unfold apply_continued. f_equal. apply sum_ext; intros c _.
    rewrite (sum_bijection (grid (kernel_shape l)) (grid (kernel_shape l)) taps taps).
    - apply sum_ext; intros t Ht. apply in_grid in Ht. destruct (R t Ht) as [Rt _].
      pose proof (output_length l _ Hi) as Li. pose proof (output_length l _ (Q i Hi)) as Lq.
      rewrite !untiled_index by assumption. unfold moved_kernel, at_places. f_equal.
      unfold outputs, inputs, taps, output_shape, input_shape, kernel_shape. apply continued_mirror; auto.
      + eapply Forall_impl; [|exact F]. intros a [_ N]. exact N.
      + apply within_length in Ht. unfold kernel_shape in Ht. rewrite map_length in Ht. exact Ht.
    - apply grid_distinct.
    - apply grid_distinct.
    - intros t Ht. apply in_grid in Ht. rewrite in_grid. apply R; assumption.
    - intros t Ht. apply in_grid in Ht. rewrite in_grid. apply R; assumption. }
  split; [exact T|]. intros S b x o i Ho Hi. rewrite T by assumption. unfold apply_continued. f_equal.
  apply sum_ext; intros c Hc. apply sum_ext; intros t Ht. apply in_range in Hc. apply in_grid in Ht.
  rewrite untiled_index by auto using output_length. rewrite S by assumption. reflexivity.
Qed.
End Reflection.
Print Assumptions signed_reflection_theorem.
