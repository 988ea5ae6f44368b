(* Theorem gradients: the gradients of a layer in its weights and in its input are the two other contractions of its tensor.
   For all weights, channels, groups, tiles, boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Tensor Lemmas_gradients.
Import ListNotations.
Open Scope Z_scope.

(* The loss along an output gradient g: the sum over all outputs of g_i y_i. *)
Definition loss {K : commutative_ring} (l : layer) (g : array K) (w : weights K) (b : Z -> K) (x : array K) : K :=
  sum (outputs l) (fun i => at_pair g i * apply l w b x (fst i) (snd i))%K.
(* The sum over i and j of T_ijk g_i x_j, and the sum over i and k of T_ijk g_i w_k. *)
Definition weight_gradient {K : commutative_ring} (l : layer) (g x : array K) (k : Z * (Z * list Z)) : K :=
  sum (outputs l) (fun i => sum (inputs l) (fun j => tensor l i j k * at_pair g i * at_pair x j))%K.
Definition input_gradient {K : commutative_ring} (l : layer) (g : array K) (w : weights K) (j : Z * list Z) : K :=
  sum (outputs l) (fun i => sum (parameters l) (fun k => tensor l i j k * at_pair g i * at_parameter w k))%K.

(* s i = j + p - t d on every axis (with k - 1 - t for t where the kernel is reversed). *)
Fixpoint term (axes : list axis) (i j t : list Z) : Prop :=
  match axes, i, j, t with
  | a :: axes, i0 :: i, j0 :: j, t0 :: t =>
      stride a * i0 = j0 + pad_low a - true_tap a t0 * dilation a /\ term axes i j t
  | _, _, _, _ => True
  end.

(* One axis, by the lemma; then every axis. *)
Lemma term_sample a i j t : axis_boundary a = zero -> tile a = 1 -> proper_axis a ->
  0 <= i < n_outputs a -> 0 <= j < n_samples a -> 0 <= t < n_taps a ->
  (sample a i t = j <-> stride a * i = j + pad_low a - true_tap a t * dilation a).
Proof.
  intros B G (Hn & Hs & Hd & _) Hi Hj Ht. rewrite sample_unflipped. destruct a as [m n k s d p b f g].
  unfold unflipped, true_tap in *. simpl in *. subst. apply gradients_terms; try assumption. destruct f; lia.
Qed.
Lemma term_samples l i j t : proper l -> Forall (fun a => axis_boundary a = zero /\ tile a = 1) (axes l) ->
  within (output_shape l) i -> within (input_shape l) j -> within (kernel_shape l) t ->
  (samples (axes l) i t = j <-> term (axes l) i j t).
Proof.
  intros (_ & P & _) H. unfold output_shape, input_shape, kernel_shape, samples. revert i j t.
  induction H as [|a axes [B G] H IH]; intros is js ts Hi Hj Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Hj as [|? j ? js' Hj0 Hj1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [tauto|].
  inversion P as [|? ? Pa P']; subst.
  rewrite <- (IH P' is' js' ts' Hi1 Hj1 Ht1), <- (term_sample a i j t B G Pa Hi0 Hj0 Ht0).
  split; [intro E; injection E; auto | intros [-> ->]; reflexivity].
Qed.

Section Gradients.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma loss_tensor (l : layer) (g : array K) w b x : proper l ->
  loss l g w b x = (sum (outputs l) (fun i => at_pair g i * b (fst i)) + sum (outputs l) (fun i => sum (inputs l) (fun j =>
    sum (parameters l) (fun k => tensor l i j k * at_pair g i * at_pair x j * at_parameter w k))))%K.
Proof.
  intro P. unfold loss. rewrite <- sum_add. apply sum_ext. intros [o i] Hi. apply in_prod_iff in Hi. destruct Hi as [Ho Hi].
  apply in_range in Ho. apply in_grid in Hi. rewrite apply_tensor by assumption. simpl.
  match goal with |- (?a * (?b + ?c))%K = _ => transitivity (a * b + a * c)%K; [ring|] end.
  f_equal. rewrite <- sum_scale. apply sum_ext. intros j _.
  rewrite <- sum_scale. apply sum_ext. intros k _. ring.
Qed.

(* L is linear in w and in x: where they change by e, it changes by the sum of e times the gradients, without any further term.
   No other gradients have this property. With the zero boundary, T is 1 at output i, input j and tap t if s i = j + p - t d
   on every axis, and else 0: these are the terms of the sums. *)
Theorem gradients_theorem (l : layer) (g : array K) (w : weights K) (b : Z -> K) (x : array K) : proper l ->
  (forall e : weights K, loss l g (fun o c k => w o c k + e o c k)%K b x - loss l g w b x
    = sum (parameters l) (fun k => at_parameter e k * weight_gradient l g x k))%K
  /\ (forall G, (forall e : weights K, loss l g (fun o c k => w o c k + e o c k)%K b x - loss l g w b x
        = sum (parameters l) (fun k => at_parameter e k * G k))%K ->
      forall k, In k (parameters l) -> G k = weight_gradient l g x k)
  /\ (forall e : array K, loss l g w b (fun h j => x h j + e h j)%K - loss l g w b x
    = sum (inputs l) (fun j => at_pair e j * input_gradient l g w j))%K
  /\ (forall G, (forall e : array K, loss l g w b (fun h j => x h j + e h j)%K - loss l g w b x
        = sum (inputs l) (fun j => at_pair e j * G j))%K ->
      forall j, In j (inputs l) -> G j = input_gradient l g w j)
  /\ (Forall (fun a => axis_boundary a = zero /\ tile a = 1) (axes l) ->
      forall o i h j o' c t, 0 <= o < out_channels l -> within (output_shape l) i -> within (input_shape l) j ->
      within (kernel_shape l) t ->
      (o = o' /\ h = input_channel l o c /\ term (axes l) i j t -> @tensor K l (o, i) (h, j) (o', (c, t)) = 1%K)
      /\ (~ (o = o' /\ h = input_channel l o c /\ term (axes l) i j t) -> @tensor K l (o, i) (h, j) (o', (c, t)) = 0%K)).
Proof.
  intro P.
  assert (W : forall e : weights K, (loss l g (fun o c k => w o c k + e o c k)%K b x - loss l g w b x
    = sum (parameters l) (fun k => at_parameter e k * weight_gradient l g x k))%K).
  { intro e. rewrite !loss_tensor by assumption.
    transitivity (sum (outputs l) (fun i => sum (inputs l) (fun j => sum (parameters l) (fun k =>
      at_parameter e k * (tensor l i j k * at_pair g i * at_pair x j)))))%K.
    + match goal with |- (?a + ?u - (?a + ?v))%K = _ => transitivity (u - v)%K; [ring|] end.
      rewrite <- sum_sub. apply sum_ext. intros i _. rewrite <- sum_sub. apply sum_ext. intros j _.
      rewrite <- sum_sub. apply sum_ext. intros k _. unfold at_parameter. ring.
    + transitivity (sum (outputs l) (fun i => sum (parameters l) (fun k => sum (inputs l) (fun j =>
        at_parameter e k * (tensor l i j k * at_pair g i * at_pair x j)))))%K.
      * apply sum_ext. intros i _. apply sum_swap.
      * rewrite sum_swap. apply sum_ext. intros k _. unfold weight_gradient. rewrite <- sum_scale. apply sum_ext. intros i _.
        apply sum_scale. }
  assert (X : forall e : array K, (loss l g w b (fun h j => x h j + e h j)%K - loss l g w b x
    = sum (inputs l) (fun j => at_pair e j * input_gradient l g w j))%K).
  { intro e. rewrite !loss_tensor by assumption.
    transitivity (sum (outputs l) (fun i => sum (inputs l) (fun j => sum (parameters l) (fun k =>
      at_pair e j * (tensor l i j k * at_pair g i * at_parameter w k)))))%K.
    + match goal with |- (?a + ?u - (?a + ?v))%K = _ => transitivity (u - v)%K; [ring|] end.
      rewrite <- sum_sub. apply sum_ext. intros i _. rewrite <- sum_sub. apply sum_ext. intros j _.
      rewrite <- sum_sub. apply sum_ext. intros k _. unfold at_pair. ring.
    + rewrite sum_swap. apply sum_ext. intros j _. unfold input_gradient. rewrite <- sum_scale. apply sum_ext. intros i _.
      apply sum_scale. }
  split; [exact W|]. split; [|split; [exact X|split]].
  - intros G H. apply (linear_form same_parameter).
    + repeat apply distinct_pairs; auto using range_distinct, grid_distinct.
    + intro e. specialize (H (fun o c k => e (o, (c, k)))). rewrite W in H. symmetry.
      transitivity (sum (parameters l) (fun k => at_parameter (fun o c k => e (o, (c, k))) k * weight_gradient l g x k))%K.
      * apply sum_ext. intros (o & c & k) _. reflexivity.
      * rewrite H. apply sum_ext. intros (o & c & k) _. reflexivity.
  - intros G H. apply (linear_form same_pair).
    + repeat apply distinct_pairs; auto using range_distinct, grid_distinct.
    + intro e. specialize (H (fun h j => e (h, j))). rewrite X in H. symmetry.
      transitivity (sum (inputs l) (fun j => at_pair (fun h j => e (h, j)) j * input_gradient l g w j))%K.
      * apply sum_ext. intros (h & j) _. reflexivity.
      * rewrite H. apply sum_ext. intros (h & j) _. reflexivity.
  - intros H o i h j o' c t Ho Hi Hj Ht.
    assert (U : Forall (fun a => tile a = 1) (axes l)) by (eapply Forall_impl; [|exact H]; intros a (_ & G); exact G).
    assert (E : @tensor K l (o, i) (h, j) (o', (c, t)) = if Z.eq_dec o o' then if Z.eq_dec (input_channel l o c) h
      then if same_place (samples (axes l) i t) j then 1%K else 0%K else 0%K else 0%K).
    { unfold tensor. simpl. destruct (Z.eq_dec o o'); [|reflexivity]. destruct (Z.eq_dec _ h); [|reflexivity].
      rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
      - rewrite weight_index_untiled; [|exact U|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Ht].
        destruct (same_place t t); [reflexivity|congruence].
      - intros u Hu N. apply in_grid in Hu.
        rewrite weight_index_untiled; [|exact U|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Hu].
        destruct (same_place u t); [congruence|]. destruct (same_place _ j); reflexivity. }
    pose proof (term_samples l i j t P H Hi Hj Ht) as T. rewrite E.
    destruct (Z.eq_dec o o'); [|split; [intros (? & _); congruence|reflexivity]].
    destruct (Z.eq_dec _ h); [|split; [intros (_ & ? & _); congruence|reflexivity]].
    destruct (same_place _ j); split; try reflexivity; intros N; exfalso.
    + apply N. repeat split; auto. apply T. assumption.
    + destruct N as (_ & _ & N). apply T in N. congruence.
Qed.
End Gradients.
Print Assumptions gradients_theorem.
