(* Theorem full-composition: full convolutions compose to the full convolution with the full convolution of their kernels;
   valid ones to the valid one. For all weights, channels and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_full_composition.
Import ListNotations.
Open Scope Z_scope.

(* n samples, k taps of the first layer and l of the second, on each axis. *)
Record lengths := Lengths { n : Z; k : Z; l : Z }.

(* The full convolution of m samples with a kernel of r taps has m + r - 1 outputs, the valid one m - r + 1. *)
Definition full_axis (m r : Z) : axis := Axis (m + r - 1) m r 1 1 (r - 1) zero false 1.
Definition valid_axis (m r : Z) : axis := Axis (m - r + 1) m r 1 1 0 zero false 1.

Definition full_first (s : lengths) : axis := full_axis (n s) (k s).
Definition full_second (s : lengths) : axis := full_axis (n s + k s - 1) (l s).
Definition full_both (s : lengths) : axis := full_axis (n s) (k s + l s - 1).
Definition valid_first (s : lengths) : axis := valid_axis (n s) (k s).
Definition valid_second (s : lengths) : axis := valid_axis (n s - k s + 1) (l s).
Definition valid_both (s : lengths) : axis := valid_axis (n s) (k s + l s - 1).

Lemma full_composes s : 1 <= n s /\ 1 <= k s /\ 1 <= l s -> composes (full_first s) (full_second s) (full_both s).
Proof.
  destruct s as [n k l]. unfold composes, full_first, full_second, full_both, full_axis. simpl. intros (Hn & Hk & Hl).
  repeat split; try lia. intros i t u Hi Ht Hu.
  pose proof (full_composition_full n k l i t u ltac:(lia) ltac:(lia) ltac:(lia) ltac:(lia)) as E.
  replace (n + k - 1 + l - 1) with (n + k + l - 2) by lia. replace (n + (k + l - 1) - 1) with (n + k + l - 2) by lia.
  replace (k + l - 1 - 1) with (k + l - 2) by lia. rewrite <- E.
  destruct (Z.ltb_spec (sample (Axis (n + k + l - 2) (n + k - 1) l 1 1 (l - 1) zero false 1) i u) 0); [assumption|reflexivity].
Qed.

Lemma valid_composes s : 1 <= k s /\ 1 <= l s /\ k s + l s - 1 <= n s -> composes (valid_first s) (valid_second s) (valid_both s).
Proof.
  destruct s as [n k l]. unfold composes, valid_first, valid_second, valid_both, valid_axis. simpl. intros (Hk & Hl & Hn).
  repeat split; try lia. intros i t u Hi Ht Hu.
  destruct (full_composition_valid_inside n k l i u ltac:(lia) ltac:(lia) ltac:(lia)) as [W E].
  pose proof (full_composition_valid n k l i t u ltac:(lia) ltac:(lia) ltac:(lia)) as F.
  replace (n - k + 1 - l + 1) with (n - k - l + 2) by lia. replace (n - (k + l - 1) + 1) with (n - k - l + 2) by lia.
  destruct (Z.ltb_spec (sample (Axis (n - k - l + 2) (n - k + 1) l 1 1 0 zero false 1) i u) 0); [lia|].
  rewrite E. symmetry. exact F.
Qed.

(* Two full layers, with kernels w and then v and m channels between, are the full layer of k + l - 1 taps with the kernel
   that is, from input channel c to output channel o, the sum over the channels h between of the convolutions of w_hc with
   v_oh; the same for two valid layers. These axes have the numbers of outputs and the low paddings that "full" and "valid"
   stand for. *)
Theorem full_composition_theorem (K : commutative_ring) (ci m co : Z) (w v : weights K) (x : array K) (sizes : list lengths) :
  (Forall (fun s => 1 <= n s /\ 1 <= k s /\ 1 <= l s) sizes ->
    forall o i, 0 <= o < co -> within (map n_outputs (map full_second sizes)) i ->
    apply (Layer (map full_second sizes) 1 m co) v no_bias (apply (Layer (map full_first sizes) 1 ci m) w no_bias x) o i
    = apply (Layer (map full_both sizes) 1 ci co) (composed_weights m (map k sizes) (map l sizes) w v) no_bias x o i)
  /\ (Forall (fun s => 1 <= k s /\ 1 <= l s /\ k s + l s - 1 <= n s) sizes ->
    forall o i, 0 <= o < co -> within (map n_outputs (map valid_second sizes)) i ->
    apply (Layer (map valid_second sizes) 1 m co) v no_bias (apply (Layer (map valid_first sizes) 1 ci m) w no_bias x) o i
    = apply (Layer (map valid_both sizes) 1 ci co) (composed_weights m (map k sizes) (map l sizes) w v) no_bias x o i)
  /\ (forall n r, pad_low (full_axis n r) = full_low n r 1 /\ pad_low (valid_axis n r) = valid_low n r 1
    /\ n_outputs (full_axis n r) = forward_outputs n r 1 (full_low n r 1) (full_high n r 1)
    /\ n_outputs (valid_axis n r) = forward_outputs n r 1 (valid_low n r 1) (valid_high n r 1)).
Proof.
  split; [|split].
  3: { intros m' r. unfold forward_outputs, full_low, full_high, valid_low, valid_high. simpl. rewrite !Z.div_1_r. lia. }
  all: intros H o i Ho Hi.
  - rewrite (composition full_first full_second full_both); try assumption.
    + rewrite !map_map. reflexivity.
    + eapply Forall_impl; [|exact H]. apply full_composes.
  - rewrite (composition valid_first valid_second valid_both); try assumption.
    + rewrite !map_map. reflexivity.
    + eapply Forall_impl; [|exact H]. apply valid_composes.
Qed.
Print Assumptions full_composition_theorem.
