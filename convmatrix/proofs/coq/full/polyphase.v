(* Theorem polyphase: a convolution with dilation d consists of d convolutions with dilation 1, one for each phase of its outputs.
   For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_polyphase.
Import ListNotations.
Open Scope Z_scope.

(* Stride 1, one kernel for all outputs, and the zero boundary or a ring of d g samples and outputs. *)
Definition dilated_axis (a : axis) : Prop := stride a = 1 /\ tile a = 1 /\ 1 <= dilation a /\ 1 <= n_samples a
  /\ (axis_boundary a = zero \/ axis_boundary a = circular /\ n_outputs a = n_samples a /\ n_samples a mod dilation a = 0).

(* The outputs of phase f are f, f + d, ...; they read the samples of phase (f - p) mod d, which are the samples of the axis of
   the phase. *)
Definition source (a : axis) (f : Z) : Z := (f - pad_low a) mod dilation a.
Definition phase_length (size f d : Z) : Z := (size - f + d - 1) / d.
Definition phase_axis (a : axis) (f : Z) : axis :=
  Axis (phase_length (n_outputs a) f (dilation a)) (phase_length (n_samples a) (source a f) (dilation a)) (n_taps a) 1 1
    (- ((f - pad_low a) / dilation a)) (axis_boundary a) (flip a) 1.
Definition phase_layer (l : layer) (f : list Z) : layer :=
  Layer (pairwise phase_axis (axes l) f) (groups l) (in_channels l) (out_channels l).
(* Output d i + f, and sample d j + (f - p) mod d, on each axis. *)
Fixpoint interleaved (start : axis -> Z -> Z) (axes : list axis) (f i : list Z) : list Z :=
  match axes, f, i with
  | a :: axes, f0 :: f, i0 :: i => dilation a * i0 + start a f0 :: interleaved start axes f i
  | _, _, _ => []
  end.
Definition output_of_phase (l : layer) : list Z -> list Z -> list Z := interleaved (fun _ f => f) (axes l).
Definition sample_of_phase (l : layer) : list Z -> list Z -> list Z := interleaved source (axes l).
Definition phases (l : layer) (f : list Z) : Prop := Forall2 (fun a f => 0 <= f < dilation a) (axes l) f.

Lemma phase_length_bounds size f d : 1 <= d -> d * (phase_length size f d - 1) + f < size <= d * phase_length size f d + f.
Proof.
  intro D. unfold phase_length. pose proof (Z_div_mod_eq_full (size - f + d - 1) d).
  pose proof (Z.mod_pos_bound (size - f + d - 1) d ltac:(lia)). nia.
Qed.

(* One axis, by the lemmas. *)
Lemma phase_sample a f i t : dilated_axis a -> 0 <= f < dilation a -> 0 <= i < n_outputs (phase_axis a f) -> 0 <= t < n_taps a ->
  sample a (dilation a * i + f) t
  = if sample (phase_axis a f) i t <? 0 then sample (phase_axis a f) i t else dilation a * sample (phase_axis a f) i t + source a f.
Proof.
  intros A Hf Hi Ht. rewrite (sample_unflipped a), (sample_unflipped (phase_axis a f)).
  change (true_tap (phase_axis a f) t) with (true_tap a t). apply true_tap_within in Ht. revert Ht. generalize (true_tap a t).
  destruct a as [m n k s d p b fl g]. unfold dilated_axis, phase_axis, unflipped, source in *. simpl in *.
  destruct A as (-> & -> & D & N & B). intros u Hu.
  pose proof (Z.mod_pos_bound (f - p) d ltac:(lia)) as R. pose proof (Z_div_mod_eq_full (f - p) d) as E.
  destruct B as [-> | (-> & -> & M)].
  - pose proof (phase_length_bounds n ((f - p) mod d) d D).
    exact (polyphase_zero_boundary m n (phase_length n ((f - p) mod d) d) k d p i u f ((f - p) mod d) ((f - p) / d)
      Hf R (proj1 Hi) Hu E ltac:(lia) ltac:(lia)).
  - apply Z.mod_divide in M; [|lia]. destruct M as [h ->].
    assert (L : forall q, 0 <= q < d -> phase_length (h * d) q d = h) by (intros q Hq; pose proof (phase_length_bounds (h * d) q d D); nia).
    rewrite !L in * by assumption.
    assert (G : 1 <= h) by nia.
    pose proof (polyphase_ring h k d p i u f ((f - p) mod d) ((f - p) / d) G Hf R Hi Hu E) as Q.
    rewrite (Z.mul_comm h d). rewrite Q.
    destruct (sample_range (Axis h h k 1 1 (- ((f - p) / d)) circular false 1) i u G) as [[_ X]|X]; [discriminate X|].
    simpl in X. destruct (Z.ltb_spec (sample (Axis h h k 1 1 (- ((f - p) / d)) circular false 1) i u) 0); [lia|reflexivity].
Qed.

(* Every axis. *)
Lemma phase_samples l f i t : Forall dilated_axis (axes l) -> phases l f -> within (output_shape (phase_layer l f)) i ->
  within (kernel_shape l) t ->
  present (samples (axes l) (output_of_phase l f i) t) = present (samples (axes (phase_layer l f)) i t)
  /\ (present (samples (axes (phase_layer l f)) i t) = true ->
      samples (axes l) (output_of_phase l f i) t = sample_of_phase l f (samples (axes (phase_layer l f)) i t))
  /\ length (output_of_phase l f i) = length (axes l) /\ length i = length (axes (phase_layer l f)).
Proof.
  unfold phases, output_shape, kernel_shape, output_of_phase, sample_of_phase, samples, phase_layer. simpl. intros H P. revert i t.
  induction P as [|a f axes fs Hf P IH]; intros is ts Hi Ht; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl in Hi;
    inversion Hi as [|? i ? is' Hi0 Hi1]; subst.
  - repeat split.
  - inversion H as [|? ? A H']; subst. destruct (IH H' is' ts' Hi1 Ht1) as (Q & E & L1 & L2). simpl.
    rewrite Q, (phase_sample a f i t A Hf Hi0 Ht0).
    assert (S : 0 <= source a f) by (unfold source; apply Z.mod_pos_bound; destruct A as (_ & _ & D & _); lia).
    assert (D : 1 <= dilation a) by apply A.
    destruct (Z.ltb_spec (sample (phase_axis a f) i t) 0) as [X|X].
    + destruct (Z.leb_spec 0 (sample (phase_axis a f) i t)); [lia|]. simpl. repeat split; [discriminate | lia | lia].
    + destruct (Z.leb_spec 0 (dilation a * sample (phase_axis a f) i t + source a f)); [|nia].
      destruct (Z.leb_spec 0 (sample (phase_axis a f) i t)); [|lia]. simpl.
      split; [reflexivity|]. split; [|split; lia]. intro T. rewrite (E T). reflexivity.
Qed.

(* Output d i + f of the layer is output i of the layer of phase f, with the same kernels and dilation 1, whose input is the samples
   of phase (f - p) mod d. Every output has one phase f, and its place i there. *)
Theorem polyphase_theorem (K : commutative_ring) (l : layer) (w : weights K) b (x : array K) : Forall dilated_axis (axes l) ->
  (forall f i o, phases l f -> within (output_shape (phase_layer l f)) i ->
    apply l w b x o (output_of_phase l f i) = apply (phase_layer l f) w b (fun h j => x h (sample_of_phase l f j)) o i)
  /\ (forall y, within (output_shape l) y -> exists! fi, phases l (fst fi)
      /\ within (output_shape (phase_layer l (fst fi))) (snd fi) /\ y = output_of_phase l (fst fi) (snd fi)).
Proof.
  intro H. split.
  - intros f i o P Hi. unfold apply. f_equal. change (group_inputs (phase_layer l f)) with (group_inputs l).
    apply sum_ext. intros c _.
    replace (kernel_shape (phase_layer l f)) with (kernel_shape l).
    2: { unfold kernel_shape, phase_layer. simpl. clear - P. unfold phases in P. induction P; simpl; congruence. }
    apply sum_ext. intros t Ht. apply in_grid in Ht.
    destruct (phase_samples l f i t H P Hi Ht) as (Q & E & L1 & L2).
    change (input_channel (phase_layer l f) o c) with (input_channel l o c).
    assert (L3 : length t = length (axes l)) by apply (shape_length n_taps), Ht.
    assert (L4 : length (axes (phase_layer l f)) = length (axes l)).
    { unfold phase_layer. simpl. clear - P. unfold phases in P. induction P; simpl; congruence. }
    rewrite !weight_index_untiled; try congruence.
    + f_equal. unfold read. rewrite Q. destruct (present (samples (axes (phase_layer l f)) i t)); [rewrite E by reflexivity|]; reflexivity.
    + unfold phase_layer. simpl. clear - P. unfold phases in P. induction P; simpl; constructor; auto.
    + eapply Forall_impl; [|exact H]. intros a (_ & T & _). exact T.
  - unfold phases, output_shape, output_of_phase, phase_layer. simpl.
    induction H as [|a axes A H IH]; intros y Hy; inversion Hy as [|? y0 ? ys Hy0 Hy1]; subst.
    + exists ([], []). split; [repeat split; constructor|]. intros [f i] (P & W & _). simpl in *. inversion P; subst.
      simpl in W. inversion W; subst. reflexivity.
    + destruct (IH ys Hy1) as [[fs is'] [(P & W & E) U]]. simpl in P, W, E.
      assert (D : 1 <= dilation a) by apply A.
      pose proof (Z.mod_pos_bound y0 (dilation a) ltac:(lia)) as R. pose proof (Z_div_mod_eq_full y0 (dilation a)) as Q.
      exists (y0 mod dilation a :: fs, y0 / dilation a :: is'). simpl. split.
      * split; [constructor; assumption|]. split; [constructor; [|exact W] |].
        2: { cbn [fst snd interleaved]. rewrite <- E, <- Q. reflexivity. }
        simpl. pose proof (phase_length_bounds (n_outputs a) (y0 mod dilation a) (dilation a) D). nia.
      * intros [f i] (P' & W' & E'). simpl in P', W', E'. inversion P' as [|? f0 ? f1 Hf0 Hf1]; subst. simpl in W', E'.
        inversion W' as [|? i0 ? i1 Hi0 Hi1]; subst. simpl in E'. injection E' as E0 E1.
        assert (X : (fs, is') = (f1, i1)) by (apply U; simpl; auto). injection X as -> ->.
        assert (F : y0 / dilation a = i0) by nia. assert (G : y0 mod dilation a = f0) by nia. rewrite F, G. reflexivity.
Qed.
Print Assumptions polyphase_theorem.
