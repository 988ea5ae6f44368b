(* Theorem toeplitz-compression: a zero-padded convolution is a block of a circular one on n + d (k - 1) samples. For all
   weights, channels, groups, tiles and any number of axes. *)
Require Import ZArith List Lia Bool.
From Convmatrix Require Import Sums Rule Layers Algebra Lemmas_toeplitz_compression.
Import ListNotations.
Open Scope Z_scope.

Definition reach (a : axis) : Z := dilation a * (n_taps a - 1).
(* Stride 1 and zero padding of at most d (k - 1) at each end: p at the low end, and high = m - 1 + d (k - 1) - p - (n - 1)
   at the high one, so that m <= n + p. *)
Definition compressible (a : axis) : Prop :=
  axis_boundary a = zero /\ stride a = 1 /\ 1 <= n_samples a /\ 1 <= dilation a /\ 1 <= n_taps a
  /\ 0 <= pad_low a <= reach a /\ n_outputs a <= n_samples a + pad_low a.

(* The ring of n + d (k - 1) samples and outputs. *)
Definition ring_of (a : axis) : axis :=
  Axis (n_samples a + reach a) (n_samples a + reach a) (n_taps a) 1 (dilation a) (pad_low a) circular (flip a) (tile a).
Definition circulant (l : layer) : layer := Layer (map ring_of (axes l)) (groups l) (in_channels l) (out_channels l).

(* An array extended by zeros. *)
Definition inside (sizes j : list Z) : bool := forallb (fun b => b) (pairwise (fun n i => (0 <=? i) && (i <? n)) sizes j).
Definition extended {K : commutative_ring} (sizes : list Z) (x : array K) : array K := fun h j =>
  if inside sizes j then x h j else 0%K.

(* One axis, by the lemma; then every axis. *)
Lemma ring_sample a i t j : compressible a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a -> 0 <= j < n_samples a ->
  (sample a i t = j <-> sample (ring_of a) i t = j).
Proof.
  intros C Hi Ht Hj. rewrite sample_unflipped, (sample_unflipped (ring_of a)).
  change (true_tap (ring_of a) t) with (true_tap a t). apply true_tap_within in Ht. revert Ht. generalize (true_tap a t).
  destruct a as [m n k s d p b f g]. unfold compressible, unflipped, ring_of, reach in *. simpl in *.
  destruct C as (-> & -> & Hn & Hd & Hk & Hp & Hm). intros u Hu.
  apply (toeplitz_compression_compression n m k d p i u j); try lia.
  unfold position, tap_position. simpl. nia.
Qed.

Lemma ring_samples l : Forall compressible (axes l) ->
  forall i t j, within (output_shape l) i -> within (kernel_shape l) t -> within (input_shape l) j ->
  (samples (axes l) i t = j <-> samples (axes (circulant l)) i t = j).
Proof.
  destruct l as [axes g ci co]. unfold output_shape, kernel_shape, input_shape, samples. simpl. intro H.
  induction H as [|a axes Ha H IH]; intros is ts js Hi Ht Hj; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Hj as [|? j ? js' Hj0 Hj1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [tauto|].
  pose proof (IH is' ts' js' Hi1 Ht1 Hj1) as E. pose proof (ring_sample a i t j Ha Hi0 Ht0 Hj0) as F.
  split; intro G; injection G as G1 G2; f_equal; tauto.
Qed.

Lemma inside_within sizes j : length j = length sizes -> (inside sizes j = true <-> within sizes j).
Proof.
  revert j. induction sizes as [|n sizes IH]; intros [|i j] L; simpl in L; try discriminate.
  - split; [constructor | reflexivity].
  - change (inside (n :: sizes) (i :: j)) with (((0 <=? i) && (i <? n)) && inside sizes j).
    rewrite !andb_true_iff, Z.leb_le, Z.ltb_lt, IH by lia.
    split; [intros [? ?]; constructor; [lia|assumption] | inversion 1; subst; auto].
Qed.

(* The outputs of the layer are among those of the ring, its samples too. The matrix of the layer is the part of the
   circulant in these rows and the first n columns of each axis: the layer is the ring's, applied to the input with zeros
   after its n samples. *)
Theorem toeplitz_compression_theorem (K : commutative_ring) (l : layer) (w : weights K) (b : Z -> K) :
  Forall compressible (axes l) ->
  (forall i, within (output_shape l) i -> within (output_shape (circulant l)) i)
  /\ (forall j, within (input_shape l) j -> within (input_shape (circulant l)) j)
  /\ (forall o i h j, within (output_shape l) i -> within (input_shape l) j ->
      entry l w o i h j = entry (circulant l) w o i h j)
  /\ (forall (x : array K) o i, within (output_shape l) i ->
      apply l w b x o i = apply (circulant l) w b (extended (input_shape l) x) o i).
Proof.
  intro H.
  assert (Kernel : kernel_shape (circulant l) = kernel_shape l) by (unfold kernel_shape; simpl; rewrite map_map; reflexivity).
  assert (Weight : forall i t, weight_index (axes (circulant l)) i t = weight_index (axes l) i t).
  { simpl. clear. induction (axes l) as [|a axes IH]; intros [|i is] [|t ts]; try reflexivity.
    unfold weight_index in *. simpl. rewrite IH. reflexivity. }
  split; [|split; [|split]].
  - unfold output_shape. simpl. intros i Hi. rewrite map_map. simpl. revert i Hi.
    clear Weight Kernel. induction H as [|a axes Ha H IH]; intros i Hi; inversion Hi; subst; [constructor|].
    constructor; [unfold compressible in Ha; lia | apply IH; assumption].
  - unfold input_shape. simpl. intros i Hi. rewrite map_map. simpl. revert i Hi.
    clear Weight Kernel. induction H as [|a axes Ha H IH]; intros i Hi; inversion Hi; subst; [constructor|].
    constructor; [unfold compressible in Ha; lia | apply IH; assumption].
  - intros o i h j Hi Hj. unfold entry. rewrite Kernel.
    apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid in Ht.
    change (input_channel (circulant l) o c) with (input_channel l o c). rewrite Weight.
    pose proof (ring_samples l H i t j Hi Ht Hj) as S. destruct (Z.eq_dec _ h); [|reflexivity].
    destruct (same_place _ j) as [A|A]; destruct (same_place _ j) as [B|B]; tauto.
  - intros x o i Hi. unfold apply. rewrite Kernel. f_equal.
    apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid in Ht.
    change (input_channel (circulant l) o c) with (input_channel l o c). rewrite Weight. f_equal.
    assert (Li : length i = length (axes l)) by apply (shape_length n_outputs), Hi.
    assert (Lt : length t = length (axes l)) by apply (shape_length n_taps), Ht.
    assert (R : present (samples (axes (circulant l)) i t) = true).
    { apply always_present. simpl. apply Forall_map. eapply Forall_impl; [|exact H]. intros a C.
      unfold compressible in C. split; [simpl; lia | discriminate]. }
    assert (S : Forall (fun a => 1 <= n_samples a) (axes l)).
    { eapply Forall_impl; [|exact H]. intros a C. unfold compressible in C. lia. }
    assert (L : length (samples (axes (circulant l)) i t) = length (input_shape l)).
    { unfold samples, input_shape. rewrite on_axes_length, map_length by (simpl; rewrite map_length; assumption).
      simpl. apply map_length. }
    unfold read, extended. rewrite R. destruct (present (samples (axes l) i t)) eqn:E.
    + assert (J : within (input_shape l) (samples (axes l) i t)) by (apply present_within; assumption).
      pose proof (proj1 (ring_samples l H i t _ Hi Ht J) eq_refl) as F. rewrite F.
      rewrite (proj2 (inside_within _ _ (within_length _ _ J)) J). reflexivity.
    + destruct (inside _ _) eqn:I; [|reflexivity]. exfalso. apply inside_within in I; [|exact L].
      pose proof (proj2 (ring_samples l H i t _ Hi Ht I) eq_refl) as F. congruence.
Qed.
Print Assumptions toeplitz_compression_theorem.
