(* Theorem tiles, in full.

   Layers with any number of axes, any boundaries, channels, groups, tiles of kernels, weights, biases and inputs. A part
   of the outputs is given on each axis by its first output f, a multiple of the number of kernels, and its number q.
   1. These outputs are those of the valid layer on the window of (q - 1) s + d (k - 1) + 1 samples from position
      f s - p on, which holds what the boundary reads there.
   2. This many positions are read by the part, and d (k - 1) + 1 - s of them belong to the window of the next part too.
   3. They are also those of the layer on w samples of the input, from sample u on, with the boundary of the whole and
      low padding p + u - f s: with the zero boundary where each position that is read lies in these samples or outside
      the input; with reflect, symmetric and replicate at an end of the input, u = 0 or u = n - w, where the part reads
      nothing beyond the other end of the w samples, and beyond this one at most w - 1, w, or any number of positions. *)
From Coq Require Import ZArith List Lia Bool Ring.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_tiles.
Import ListNotations.
Open Scope Z_scope.

(* On one axis: the first output f, the number of outputs q, and for 3 the first sample u and the number of samples w. *)
Record part := Part { first : Z; count : Z; start : Z; width : Z }.
Definition counts (parts : list part) : list Z := map count parts.
(* Output i of the part is output f + i of the whole. *)
Definition of_whole (parts : list part) (i : list Z) : list Z := pairwise (fun c i => first c + i) parts i.

Definition window_size (a : axis) (q : Z) : Z := (q - 1) * stride a + dilation a * (n_taps a - 1) + 1.
Definition valid_axis (a : axis) (c : part) : axis :=
  Axis (count c) (window_size a (count c)) (n_taps a) (stride a) (dilation a) 0 zero (flip a) (tile a).
Definition cut_axis (a : axis) (c : part) : axis :=
  Axis (count c) (width c) (n_taps a) (stride a) (dilation a) (pad_low a + start c - first c * stride a)
    (axis_boundary a) (flip a) (tile a).
Definition part_layer (on : axis -> part -> axis) (l : layer) (parts : list part) : layer :=
  Layer (pairwise on (axes l) parts) (groups l) (in_channels l) (out_channels l).

(* What the window holds at place z: what the boundary reads at position f s - p + z. *)
Definition window_samples (axes : list axis) (parts : list part) (z : list Z) : list Z :=
  pairwise (fun ac z => read_sample (axis_boundary (fst ac)) (first (snd ac) * stride (fst ac) - pad_low (fst ac) + z)
    (n_samples (fst ac))) (combine axes parts) z.
Definition window {K : commutative_ring} (l : layer) (parts : list part) (x : array K) : array K :=
  fun h z => read (x h) (window_samples (axes l) parts z).
(* The samples of the input from sample u on. *)
Definition cut {K} (parts : list part) (x : array K) : array K := fun h z => x h (pairwise (fun c z => z + start c) parts z).

Definition good_part (a : axis) (c : part) : Prop :=
  1 <= stride a /\ 1 <= dilation a /\ 1 <= tile a /\ first c mod tile a = 0.
(* Position x counts from the first of the w samples. *)
Definition may_cut (a : axis) (c : part) (x : Z) : Prop :=
  match axis_boundary a with
  | zero => x + start c < 0 \/ n_samples a <= x + start c \/ 0 <= x < width c
  | circular => False
  | reflect => start c = 0 /\ - width c < x < width c
      \/ start c = n_samples a - width c /\ 0 <= x < 2 * width c - 1
  | symmetric => start c = 0 /\ - width c <= x < width c
      \/ start c = n_samples a - width c /\ 0 <= x < 2 * width c
  | replicate => start c = 0 /\ x < width c \/ start c = n_samples a - width c /\ 0 <= x
  end.
Definition good_cut (a : axis) (c : part) : Prop :=
  0 <= start c /\ 1 <= width c /\ start c + width c <= n_samples a
  /\ forall i t, 0 <= i < count c -> 0 <= t < n_taps a -> may_cut a c (position a (first c + i) t - start c).

(* --- one axis --- *)

Lemma same_weight (a a' : axis) (c : part) i t : good_part a c -> n_taps a' = n_taps a -> tile a' = tile a ->
  0 <= i -> 0 <= t < n_taps a -> weight a' i t = weight a (first c + i) t.
Proof.
  intros [_ [_ [T M]]] E E' Hi Ht. apply Z.mod_divide in M; [|lia]. destruct M as [v ->].
  pose proof (tiles_kernels (tile a) (n_taps a) v i t T Hi Ht) as W. unfold weight in *. simpl in W.
  rewrite E, E', (Z.mul_comm v). symmetry. exact W.
Qed.

Lemma window_read (a : axis) (c : part) i t : good_part a c -> 0 <= i < count c -> 0 <= t < n_taps a ->
  0 <= sample (valid_axis a c) i t < n_samples (valid_axis a c)
  /\ read_sample (axis_boundary a) (first c * stride a - pad_low a + sample (valid_axis a c) i t) (n_samples a)
    = sample a (first c + i) t.
Proof.
  intros [S [D _]] Hi Ht. set (v := valid_axis a c).
  change (sample a (first c + i) t) with (read_sample (axis_boundary a) (position a (first c + i) t) (n_samples a)).
  rewrite (sample_unflipped v i t), (position_unflipped a (first c + i) t).
  change (true_tap v t) with (true_tap a t). apply (true_tap_within a) in Ht. set (u := true_tap a t) in *.
  destruct (tiles_window (n_outputs a) (n_samples a) (count c) (n_taps a) (stride a) (dilation a) (pad_low a) (first c) i u S D Hi Ht)
    as [E [W P]].
  change (sample (unflipped v) i u = position (unflipped v) i u) in E.
  rewrite E. split; [exact W|]. f_equal. unfold position, tap_position in *. simpl in *. lia.
Qed.

Lemma cut_position (a : axis) (c : part) i t : position (cut_axis a c) i t = position a (first c + i) t - start c.
Proof. unfold position, tap_position. simpl. ring. Qed.

Lemma cut_read (a : axis) (c : part) i t : good_cut a c -> 0 <= i < count c -> 0 <= t < n_taps a ->
  sample (cut_axis a c) i t < 0 /\ sample a (first c + i) t < 0
  \/ 0 <= sample (cut_axis a c) i t /\ 0 <= sample a (first c + i) t
     /\ sample a (first c + i) t = sample (cut_axis a c) i t + start c.
Proof.
  intros [U [Wd [UW M]]] Hi Ht. specialize (M i t Hi Ht). pose proof M as M'. unfold may_cut in M.
  assert (N : 1 <= n_samples a) by lia.
  assert (R : axis_boundary a <> zero ->
    read_sample (axis_boundary a) (position a (first c + i) t - start c) (width c) + start c
      = read_sample (axis_boundary a) (position a (first c + i) t - start c + start c) (n_samples a) ->
    0 <= sample (cut_axis a c) i t /\ 0 <= sample a (first c + i) t
    /\ sample a (first c + i) t = sample (cut_axis a c) i t + start c).
  { intros Z E. assert (0 <= sample (cut_axis a c) i t) by (apply sample_not_negative; assumption).
    assert (0 <= sample a (first c + i) t) by (apply sample_not_negative; assumption).
    split; [assumption|split; [assumption|]]. unfold sample. rewrite cut_position. simpl axis_boundary. simpl n_samples.
    rewrite E. f_equal. ring. }
  set (x := position a (first c + i) t - start c) in *.
  destruct (axis_boundary a) eqn:B.
  - clear R. rewrite (sample_unflipped a (first c + i)), (sample_unflipped (cut_axis a c) i).
    change (true_tap (cut_axis a c) t) with (true_tap a t). unfold x in M. rewrite (position_unflipped a (first c + i) t) in M.
    apply (true_tap_within a) in Ht. set (u := true_tap a t) in *.
    pose proof (tiles_cut_window (n_outputs a) (n_samples a) (count c) (width c) (n_taps a) (stride a) (dilation a) (pad_low a)
      (first c) (start c) i u U UW Ht) as T.
    assert (A : unflipped a = Axis (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a) zero false (tile a))
      by (unfold unflipped; rewrite B; reflexivity).
    assert (A' : unflipped (cut_axis a c) = Axis (count c) (width c) (n_taps a) (stride a) (dilation a)
      (pad_low a + start c - first c * stride a) zero false (tile a)) by (unfold unflipped, cut_axis; simpl; rewrite B; reflexivity).
    rewrite A in M |- *. rewrite A'.
    set (whole := Axis _ _ _ _ _ (pad_low a) zero false (tile a)) in *.
    change (position (Axis _ _ _ _ _ (pad_low a) zero false 1)) with (position whole) in T.
    change (sample (Axis _ _ _ _ _ (pad_low a) zero false 1)) with (sample whole) in T.
    set (piece := Axis (count c) (width c) _ _ _ _ zero false (tile a)).
    change (sample (Axis (count c) (width c) _ _ _ _ zero false 1)) with (sample piece) in T.
    assert (H : sample piece i u = (if sample whole (first c + i) u <? 0 then sample whole (first c + i) u
      else sample whole (first c + i) u - start c)) by (apply T; lia).
    assert (Q : 0 <= sample whole (first c + i) u -> sample whole (first c + i) u = position whole (first c + i) u
      /\ 0 <= position whole (first c + i) u < n_samples a).
    { unfold sample at 1 2. simpl. unfold read_zero. set (y := position whole (first c + i) u).
      change (n_samples whole) with (n_samples a).
      destruct (Z.ltb_spec y 0); [lia|]. destruct (Z.ltb_spec y (n_samples a)); lia. }
    rewrite H. destruct (Z.ltb_spec (sample whole (first c + i) u) 0); [left; lia|right].
    destruct Q as [E Q]; [assumption|]. rewrite E in *. lia.
  - contradiction.
  - right. apply R; [discriminate|]. destruct M as [[E M]|[E M]]; rewrite E in *.
    + exact (tiles_reflect_low_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia) ltac:(lia)).
    + exact (tiles_reflect_high_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia) ltac:(lia)).
  - right. apply R; [discriminate|]. destruct M as [[E M]|[E M]]; rewrite E in *.
    + exact (tiles_symmetric_low_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia) ltac:(lia)).
    + exact (tiles_symmetric_high_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia) ltac:(lia)).
  - right. apply R; [discriminate|]. destruct M as [[E M]|[E M]]; rewrite E in *.
    + exact (tiles_replicate_low_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia)).
    + exact (tiles_replicate_high_end (n_samples a) (width c) x Wd ltac:(lia) ltac:(lia)).
Qed.

(* --- all axes --- *)

Lemma part_kernel on l parts : (forall a c, n_taps (on a c) = n_taps a) -> length parts = length (axes l) ->
  kernel_shape (part_layer on l parts) = kernel_shape l.
Proof.
  intro E. unfold kernel_shape, part_layer. simpl. revert parts.
  induction (axes l) as [|a axes IH]; intros [|c parts] L; try discriminate; simpl; [reflexivity|]. rewrite E, IH; auto.
Qed.

Lemma part_weights on axes parts i t : (forall a c, n_taps (on a c) = n_taps a /\ tile (on a c) = tile a) ->
  Forall2 good_part axes parts -> within (counts parts) i -> within (map n_taps axes) t ->
  weight_index (pairwise on axes parts) i t = weight_index axes (of_whole parts i) t.
Proof.
  intros E F. unfold weight_index, of_whole, counts. revert i t. induction F as [|a c axes parts G F IH]; intros i t Hi Ht;
    inversion Hi as [|? i0 ? is Hi0 Hi']; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; simpl; [reflexivity|].
  f_equal; [|apply IH; assumption]. apply same_weight; auto; try apply E; lia.
Qed.

Lemma window_reads axes parts i t : Forall2 good_part axes parts -> within (counts parts) i -> within (map n_taps axes) t ->
  present (samples (pairwise valid_axis axes parts) i t) = true
  /\ window_samples axes parts (samples (pairwise valid_axis axes parts) i t) = samples axes (of_whole parts i) t.
Proof.
  intro F. unfold samples, of_whole, counts, window_samples. revert i t. induction F as [|a c axes parts G F IH]; intros i t Hi Ht;
    inversion Hi as [|? i0 ? is Hi0 Hi']; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; [split; reflexivity|].
  destruct (IH is ts Hi' Ht') as [P E]. destruct (window_read a c i0 t0 G Hi0 Ht0) as [R E0].
  cbn [pairwise on_axes combine fst snd]. rewrite E, E0. split; [|reflexivity]. simpl present. rewrite P, andb_true_r. apply Z.leb_le. lia.
Qed.

Lemma cut_reads axes parts i t : Forall2 good_cut axes parts -> within (counts parts) i -> within (map n_taps axes) t ->
  present (samples (pairwise cut_axis axes parts) i t) = present (samples axes (of_whole parts i) t)
  /\ (present (samples axes (of_whole parts i) t) = true ->
    samples axes (of_whole parts i) t = pairwise (fun c z => z + start c) parts (samples (pairwise cut_axis axes parts) i t)).
Proof.
  intro F. unfold samples, of_whole, counts. revert i t. induction F as [|a c axes parts G F IH]; intros i t Hi Ht;
    inversion Hi as [|? i0 ? is Hi0 Hi']; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; [split; reflexivity|].
  destruct (IH is ts Hi' Ht') as [P E]. cbn [pairwise on_axes]. simpl present. rewrite P.
  destruct (cut_read a c i0 t0 G Hi0 Ht0) as [[S S']|[S [S' E0]]].
  - apply Z.leb_gt in S, S'. rewrite S, S'. simpl. split; [reflexivity|discriminate].
  - apply Z.leb_le in S, S'. rewrite S, S'. simpl. split; [reflexivity|]. intro H. rewrite (E H), E0. reflexivity.
Qed.

Theorem tiles_theorem (K : commutative_ring) (l : layer) (parts : list part) : Forall2 good_part (axes l) parts ->
  (forall (w : weights K) b (x : array K) o i, within (counts parts) i ->
    apply l w b x o (of_whole parts i) = apply (part_layer valid_axis l parts) w b (window l parts x) o i)
  /\ Forall2 (fun a c =>
    position (unflipped a) (first c + count c - 1) (n_taps a - 1) + 1 - position (unflipped a) (first c) 0
      = window_size a (count c)
    /\ position (unflipped a) (first c + count c - 1) (n_taps a - 1) + 1 - position (unflipped a) (first c + count c) 0
      = dilation a * (n_taps a - 1) + 1 - stride a) (axes l) parts
  /\ (Forall2 good_cut (axes l) parts -> forall (w : weights K) b (x : array K) o i, within (counts parts) i ->
    apply l w b x o (of_whole parts i) = apply (part_layer cut_axis l parts) w b (cut parts x) o i).
Proof.
  intro G. assert (L : length parts = length (axes l)) by (induction G; simpl; auto). split; [|split].
  - intros w b x o i Hi. unfold apply. f_equal. change (group_inputs (part_layer valid_axis l parts)) with (group_inputs l).
    rewrite part_kernel by auto. apply sum_ext; intros c _. apply sum_ext; intros t Ht. apply in_grid in Ht.
    unfold part_layer at 1. cbn [axes]. rewrite part_weights by auto. f_equal. unfold read at 2.
    destruct (window_reads (axes l) parts i t G Hi Ht) as [P E]. cbn [axes part_layer]. rewrite P. unfold window. rewrite E. reflexivity.
  - clear L. induction G as [|a c axes parts [_ _] G IH]; constructor; [|exact IH].
    exact (tiles_window_and_halo (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a) (count c) (first c)).
  - intros C w b x o i Hi. unfold apply. f_equal. change (group_inputs (part_layer cut_axis l parts)) with (group_inputs l).
    rewrite part_kernel by auto. apply sum_ext; intros c _. apply sum_ext; intros t Ht. apply in_grid in Ht.
    unfold part_layer at 1. cbn [axes]. rewrite part_weights by auto. f_equal. unfold read.
    destruct (cut_reads (axes l) parts i t C Hi Ht) as [P E]. cbn [axes part_layer]. rewrite P.
    destruct (present (samples (axes l) _ t)); [|reflexivity]. rewrite E by reflexivity. reflexivity.
Qed.
Print Assumptions tiles_theorem.
