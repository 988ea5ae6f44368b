(* Theorem circulants-commute: circular convolutions of one channel commute, and multiply by convolution of their kernels;
   zero-padded ones do not commute. For all kernels and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_circulants_commute.
Import ListNotations.
Open Scope Z_scope.

(* A ring with stride 1, as many outputs as samples, and one kernel for all outputs. *)
Definition ring_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ stride a = 1 /\ 1 <= dilation a /\ tile a = 1 /\ 1 <= n_samples a /\ n_outputs a = n_samples a.
(* Two axes on one ring, with kernels of any lengths, dilations and offsets. *)
Definition same_ring (a b : axis) : Prop := ring_axis a /\ ring_axis b /\ n_samples a = n_samples b.
(* The same dilation, and both kernels reversed or neither. *)
Definition same_dilation (a b : axis) : Prop := dilation a = dilation b /\ flip a = flip b.
(* The axis of the product: k + l - 1 taps, and the sum of the offsets. *)
Definition product_axis (a b : axis) : axis :=
  Axis (n_outputs a) (n_samples a) (n_taps a + n_taps b - 1) 1 (dilation a) (pad_low a + pad_low b) circular (flip a) 1.
(* One axis of n samples with padding "same" and three taps. *)
Definition padded (n : Z) : axis := Axis n n 3 1 1 1 zero false 1.

(* One axis, by the lemmas. *)
Lemma ring_sample_within a i t : ring_axis a -> 0 <= sample a i t < n_samples a.
Proof.
  intros (B & _ & _ & _ & N & _). destruct (sample_range a i t N) as [[_ E]|E]; [congruence | exact E].
Qed.

Lemma commuting_sample a b i t u : same_ring a b ->
  0 <= i < n_outputs a -> 0 <= t < n_taps a -> 0 <= u < n_taps b -> sample b (sample a i t) u = sample a (sample b i u) t.
Proof.
  intros (A & B & E) Hi Ht Hu. rewrite !(sample_unflipped a), !(sample_unflipped b).
  apply true_tap_within in Ht. apply true_tap_within in Hu. revert Ht Hu. generalize (true_tap a t) (true_tap b u).
  destruct a as [m n k s d p bd f g], b as [m' n' k' s' d' p' bd' f' g']. unfold ring_axis, unflipped in *. simpl in *.
  destruct A as (-> & -> & Hd & -> & Hn & ->), B as (-> & -> & Hd' & -> & Hn' & ->). subst n'. intros.
  apply circulants_commute_commuting; assumption.
Qed.

Lemma product_sample a b i t u : same_ring a b -> same_dilation a b ->
  0 <= i < n_outputs a -> 0 <= t < n_taps a -> 0 <= u < n_taps b ->
  0 <= t + u < n_taps (product_axis a b) /\ sample b (sample a i t) u = sample (product_axis a b) i (t + u).
Proof.
  intros (A & B & E) (D & F) Hi Ht Hu. rewrite (sample_unflipped a), (sample_unflipped b), (sample_unflipped (product_axis a b)).
  assert (T : true_tap (product_axis a b) (t + u) = true_tap a t + true_tap b u).
  { unfold true_tap. rewrite <- F. simpl. destruct (flip a); lia. }
  rewrite T. split; [simpl; lia|]. apply true_tap_within in Ht. apply true_tap_within in Hu. revert Ht Hu.
  generalize (true_tap a t) (true_tap b u).
  destruct a as [m n k s d p bd f g], b as [m' n' k' s' d' p' bd' f' g']. unfold ring_axis, unflipped, product_axis in *.
  simpl in *. destruct A as (-> & -> & Hd & -> & Hn & ->), B as (-> & -> & Hd' & -> & Hn' & ->). subst n' d'. intros.
  apply circulants_commute_product; assumption.
Qed.

(* Every axis. *)
Lemma commuting_samples axes axes' : Forall2 same_ring axes axes' ->
  forall i t u, within (map n_outputs axes) i -> within (map n_taps axes) t -> within (map n_taps axes') u ->
  samples axes' (samples axes i t) u = samples axes (samples axes' i u) t.
Proof.
  unfold samples. induction 1 as [|a b axes axes' H _ IH]; intros is ts us Hi Ht Hu; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl; [reflexivity|].
  f_equal; [apply commuting_sample | apply IH]; assumption.
Qed.

Lemma product_samples axes axes' : Forall2 same_ring axes axes' -> Forall2 same_dilation axes axes' ->
  forall i t u, within (map n_outputs axes) i -> within (map n_taps axes) t -> within (map n_taps axes') u ->
  within (map n_taps (pairwise product_axis axes axes')) (pairwise Z.add t u)
  /\ samples axes' (samples axes i t) u = samples (pairwise product_axis axes axes') i (pairwise Z.add t u).
Proof.
  unfold samples. induction 1 as [|a b axes axes' H _ IH]; intros D is ts us Hi Ht Hu; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl; [split; constructor|].
  inversion D as [|? ? ? ? Da D']; subst. destruct (IH D' is' ts' us' Hi1 Ht1 Hu1) as [W S].
  destruct (product_sample a b i t u H Da Hi0 Ht0 Hu0) as [W0 S0]. split; [constructor; assumption | rewrite S0, S; reflexivity].
Qed.

Lemma ring_samples_within axes i t : Forall ring_axis axes -> within (map n_outputs axes) i -> within (map n_taps axes) t ->
  within (map n_outputs axes) (samples axes i t) /\ present (samples axes i t) = true.
Proof.
  unfold samples. intro H. revert i t. induction H as [|a axes Ha H IH]; intros is ts Hi Ht;
    inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [split; constructor|].
  destruct (IH is' ts' Hi1 Ht1) as [W P]. pose proof (ring_sample_within a i t Ha).
  split; [constructor; [destruct Ha as (_ & _ & _ & _ & _ & ->); assumption | assumption]|].
  rewrite P, Bool.andb_true_r. apply Z.leb_le. lia.
Qed.

Section Circulants.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma untiled axes : Forall ring_axis axes -> Forall (fun a => tile a = 1) axes.
Proof. intro H. eapply Forall_impl; [|exact H]. intros a A. apply A. Qed.

(* A of what B gives, as a double sum over the taps of both. *)
Lemma convolve_twice axes axes' (w v x : list Z -> K) i :
  Forall ring_axis axes -> Forall ring_axis axes' -> map n_outputs axes' = map n_outputs axes ->
  within (map n_outputs axes) i ->
  convolve axes w (convolve axes' v x) i = sum (grid (map n_taps axes)) (fun t => sum (grid (map n_taps axes')) (fun u =>
    w t * v u * x (samples axes' (samples axes i t) u)))%K.
Proof.
  intros A B E Hi. rewrite convolve_sum by (try apply untiled; try apply (shape_length n_outputs); assumption).
  apply sum_ext. intros t Ht. apply in_grid in Ht. destruct (ring_samples_within axes i t A Hi Ht) as [W P].
  unfold read. rewrite P. rewrite <- E in W.
  rewrite convolve_sum by (try apply untiled; try apply (shape_length n_outputs); assumption). rewrite <- sum_scale.
  apply sum_ext. intros u Hu. apply in_grid in Hu. destruct (ring_samples_within axes' _ u B W Hu) as [_ Q].
  unfold read. rewrite Q. ring.
Qed.

(* Two layers of one channel on rings of the same sizes commute, with any kernels w and v, whatever their lengths, dilations
   and offsets. With the same dilations the one after the other is the layer with the convolution of the kernels. With zero
   padding the layers with 3 taps and as many outputs as samples do not commute for some w and v, if 1 is not 0 in K. *)
Theorem circulants_commute_theorem :
  (forall axes axes' (w v x : list Z -> K) i, Forall2 same_ring axes axes' -> within (map n_outputs axes) i ->
    convolve axes w (convolve axes' v x) i = convolve axes' v (convolve axes w x) i)
  /\ (forall axes axes' (w v x : list Z -> K) i, Forall2 same_ring axes axes' -> Forall2 same_dilation axes axes' ->
      within (map n_outputs axes) i ->
      convolve axes w (convolve axes' v x) i
      = convolve (pairwise product_axis axes axes') (kernel_product (map n_taps axes) (map n_taps axes') w v) x i)
  /\ (1%K <> 0%K :> K -> forall n, 2 <= n -> exists w v x : list Z -> K,
      convolve [padded n] w (convolve [padded n] v x) [0] <> convolve [padded n] v (convolve [padded n] w x) [0]).
Proof.
  assert (F : forall axes axes', Forall2 same_ring axes axes' -> Forall ring_axis axes /\ Forall ring_axis axes'
    /\ map n_outputs axes' = map n_outputs axes).
  { induction 1 as [|a b axes axes' (A & B & E) _ (IA & IB & IE)]; [repeat constructor|].
    split; [|split]; try (constructor; assumption). simpl. rewrite IE. f_equal.
    destruct A as (_ & _ & _ & _ & _ & ->), B as (_ & _ & _ & _ & _ & ->). congruence. }
  split; [|split].
  - intros axes axes' w v x i H Hi. destruct (F axes axes' H) as (A & B & E).
    rewrite convolve_twice by assumption. rewrite convolve_twice by (assumption || (rewrite E; assumption) || congruence).
    rewrite sum_swap. apply sum_ext. intros u Hu. apply sum_ext. intros t Ht. apply in_grid in Hu, Ht.
    rewrite (commuting_samples axes axes' H i t u Hi Ht Hu). ring.
  - intros axes axes' w v x i H D Hi. destruct (F axes axes' H) as (A & B & E).
    rewrite convolve_twice by assumption.
    assert (R : Forall ring_axis (pairwise product_axis axes axes')
      /\ map n_outputs (pairwise product_axis axes axes') = map n_outputs axes).
    { clear Hi. revert A B E D. induction H as [|a b axes axes' S H IH]; simpl; intros A B E D; [repeat constructor|].
      inversion A as [|? ? A0 A']; inversion B as [|? ? B0 B']; inversion D as [|? ? ? ? D0 D']; inversion E; subst.
      destruct IH as [IR IE]; auto. split; [constructor; [|exact IR] | simpl; congruence].
      destruct A0 as (_ & _ & Hd & _ & N & M). unfold ring_axis, product_axis. simpl. repeat split; assumption. }
    destruct R as [R M].
    rewrite (convolve_sum (pairwise product_axis axes axes'));
      [|apply untiled; exact R | rewrite (shape_length n_outputs axes i Hi); rewrite <- (map_length n_outputs axes), <- M, map_length; reflexivity].
    unfold kernel_product. rewrite mixed_sum.
    + apply sum_ext. intros t Ht. apply sum_ext. intros u Hu. apply in_grid in Ht, Hu.
      destruct (product_samples axes axes' H D i t u Hi Ht Hu) as [W S]. rewrite S. f_equal.
      unfold read. rewrite <- M in Hi. rewrite (proj2 (ring_samples_within _ i _ R Hi W)). reflexivity.
    + intros t u Ht Hu. apply (product_samples axes axes' H D i t u Hi Ht Hu).
  - intros One n Hn. destruct (circulants_commute_zero_padding n Hn) as (Z0 & Z2 & Z1).
    set (a := padded n) in *. fold (padded n) in Z0, Z1, Z2. fold a in Z0, Z1, Z2.
    exists (fun t => if same_place t [0] then 1%K else 0%K), (fun t => if same_place t [2] then 1%K else 0%K), (fun _ => 1%K).
    assert (U : Forall (fun a => tile a = 1) [a]) by repeat constructor.
    assert (C : forall (w x : list Z -> K) i, convolve [a] w x [i] =
      (w [0%Z] * read x [sample a i 0] + w [1%Z] * read x [sample a i 1] + w [2%Z] * read x [sample a i 2])%K).
    { intros w x i. rewrite convolve_sum by (assumption || reflexivity). change (map n_taps [a]) with [3]. unfold samples. simpl. ring. }
    rewrite !C. simpl. unfold read. simpl.
    destruct (Z.leb_spec 0 (sample a 0 0)) as [L|L]; [lia|]. rewrite Z2. simpl.
    assert (R : @convolve K [a] (fun t => if same_place t [0] then 1%K else 0%K) (fun _ => 1%K) [1] = 1%K).
    { rewrite C, Z1. unfold read. simpl. ring. }
    rewrite R. intro E. apply One. match type of E with ?u = ?v => transitivity v; [ring | rewrite <- E; ring] end.
Qed.
End Circulants.
Print Assumptions circulants_commute_theorem.
