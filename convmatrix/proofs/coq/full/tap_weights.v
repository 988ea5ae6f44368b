(* Theorem tap-weights: output i uses kernel i mod tile, and at tap t a weight that nothing else uses; a reversed kernel reads the
   taps in reverse with the same weights. For all layers, on any number of axes. *)
Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Algebra Tensor Lemmas_tap_weights.
Import ListNotations.
Open Scope Z_scope.

Definition tiled (a : axis) : Prop := 1 <= tile a.
(* The kernel that each output uses, and the opposite taps on the axes where the kernel is reversed. *)
Definition kernel_of (axes : list axis) : list Z -> list Z := pairwise (fun a i => i mod tile a) axes.
Definition true_taps (axes : list axis) : list Z -> list Z := pairwise true_tap axes.

(* The place in memory of the weight w of an axis with k taps, for pair e of channels out of P, in an array with the axes
   (kernels, pairs, taps). *)
Definition flat_weight (w k pairs e : Z) : Z := (w / k * pairs + e) * k + w mod k.

(* On every axis output i uses at tap t the weight (i mod tile) k + t, one of tile k. Two outputs and taps use the same weight
   only if kernels and taps are the same. In memory it has the index (b P + e) k + t, for kernel b and pair e = o C + c of
   channels; equal indices belong to the same kernel, channels and tap. Reversed kernels read, for tap t, what others read for
   k - 1 - t, with the same weight. *)
Theorem tap_weights_theorem (l : layer) : Forall tiled (axes l) ->
  (forall i t, within (output_shape l) i -> within (kernel_shape l) t ->
    weight_index (axes l) i t = pairwise Z.add (pairwise Z.mul (kernel_of (axes l) i) (kernel_shape l)) t
    /\ within (weight_shape l) (weight_index (axes l) i t))
  /\ (forall i j t u, within (output_shape l) i -> within (output_shape l) j ->
      within (kernel_shape l) t -> within (kernel_shape l) u ->
      (weight_index (axes l) i t = weight_index (axes l) j u <-> kernel_of (axes l) i = kernel_of (axes l) j /\ t = u))
  /\ (forall i t, within (output_shape l) i -> within (kernel_shape l) t ->
      samples (axes l) i t = samples (map unflipped (axes l)) i (true_taps (axes l) t)
      /\ weight_index (axes l) i t = weight_index (map unflipped (axes l)) i t)
  /\ (forall a i t pairs e, In a (axes l) -> 0 <= t < n_taps a -> 0 <= e < pairs ->
      flat_weight (weight a i t) (n_taps a) pairs e = (i mod tile a * pairs + e) * n_taps a + t)
  /\ (forall k pairs inputs b o c t b' o' c' t', 0 <= t < k -> 0 <= t' < k -> 0 <= c < inputs -> 0 <= c' < inputs ->
      0 <= o * inputs + c < pairs -> 0 <= o' * inputs + c' < pairs ->
      (b * pairs + (o * inputs + c)) * k + t = (b' * pairs + (o' * inputs + c')) * k + t' -> b = b' /\ o = o' /\ c = c' /\ t = t').
Proof.
  intro H.
  assert (Block : forall width g h x y, 0 <= x < width -> 0 <= y < width -> g * width + x = h * width + y -> g = h /\ x = y).
  { intros width g h x y X Y E. assert (g = h) by nia. lia. }
  split; [|split; [|split; [|split]]].
  - unfold output_shape, kernel_shape, weight_shape, kernel_of, weight_index.
    induction H as [|a axes Ha _ IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
      inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [split; constructor|].
    destruct (IH is' ts' Hi1 Ht1) as [E W]. split; [rewrite <- E; reflexivity|]. constructor; [|exact W].
    pose proof (tap_weights_kernel (tile a) (n_taps a) (i / tile a) (i mod tile a) t (Z.mod_pos_bound i (tile a) ltac:(unfold tiled in Ha; lia)) Ht0)
      as [_ R]. rewrite <- Z_div_mod_eq_full in R. exact R.
  - unfold output_shape, kernel_shape, kernel_of, weight_index.
    induction H as [|a axes Ha _ IH]; intros is js ts us Hi Hj Ht Hu; inversion Hi as [|? i ? is' Hi0 Hi1];
      inversion Hj as [|? j ? js' Hj0 Hj1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1];
      subst; simpl; [tauto|]. specialize (IH is' js' ts' us' Hi1 Hj1 Ht1 Hu1). split.
    + intro E. injection E as E0 E1. apply IH in E1. destruct E1 as [E1 ->].
      pose proof (tap_weights_distinct_weights (tile a) (n_taps a) i j t u Ha Ht0 Hu0 E0) as ->.
      pose proof (tap_weights_same_weight_same_kernel (tile a) (n_taps a) i j u Ha ltac:(lia) Hu0 E0) as E2.
      unfold weight in E2. simpl in E2. rewrite E1. split; [f_equal; lia | reflexivity].
    + intros [E F]. injection E as E0 E1. injection F as -> F. f_equal; [|apply IH; auto]. unfold weight. rewrite E0. reflexivity.
  - unfold output_shape, kernel_shape, samples, weight_index, true_taps. clear H.
    induction (axes l) as [|a axes IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
      inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [split; reflexivity|].
    destruct (IH is' ts' Hi1 Ht1) as [E F]. rewrite <- E, <- F, <- sample_unflipped. split; reflexivity.
  - intros a i t pairs e In' Ht He. rewrite Forall_forall in H. specialize (H a In').
    pose proof (tap_weights_flat_index (tile a) (n_taps a) pairs e i t H Ht He) as E. unfold flat_weight. revert E.
    change (weight (Axis 1 1 (n_taps a) 1 1 0 zero false (tile a)) i t) with (weight a i t). generalize (weight a i t). intros v E.
    pose proof (Z_div_mod_eq_full v (n_taps a)). nia.
  - intros k pairs inputs b o c t b' o' c' t' Ht Ht' Hc Hc' P P' E.
    destruct (Block _ _ _ _ _ Ht Ht' E) as [E1 ->]. destruct (Block _ _ _ _ _ P P' E1) as [-> E2].
    destruct (Block _ _ _ _ _ Hc Hc' E2) as [-> ->]. auto.
Qed.
Print Assumptions tap_weights_theorem.
