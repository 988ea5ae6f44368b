(* Theorem stride-composition, in full.

   Two layers one after the other, of strides s and z on each axis of rings of s z m, then z m samples. For all weights
   and biases of both and all inputs, the composition commutes with the shift of the samples by c and of the outputs by
   b where c = s z b modulo s z m on every axis. Conversely, where both layers have at least one tap, a composition that
   commutes with such a pair of shifts for all weights and inputs has c = s z b modulo s z m; so s z divides c. *)
From Coq Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_stride_composition.
Import ListNotations.
Open Scope Z_scope.

Definition strided_axis (a : axis) : Prop := ring_axis a /\ tile a = 1.

(* The outputs of the first layer are the inputs of the second. *)
Definition follows (l1 l2 : layer) : Prop := input_shape l2 = output_shape l1 /\ in_channels l2 = out_channels l1.

(* The composition commutes with the shift of its samples by c and of its outputs by b. *)
Definition composition_commutes (K : commutative_ring) (l1 l2 : layer) (b c : list Z) : Prop :=
  forall (w1 w2 : weights K) (b1 b2 : Z -> K) (x : array K) o i,
  0 <= o < out_channels l2 -> within (output_shape l2) i ->
  apply l2 w2 b2 (apply l1 w1 b1 x) o (shift (output_shape l2) b i)
  = apply l2 w2 b2 (apply l1 w1 b1 (at_places (shift (input_shape l1) c) x)) o i.

(* A property of an axis of each layer, and of two shifts along them. *)
Fixpoint each_pair (P : axis -> axis -> Z -> Z -> Prop) (axes1 axes2 : list axis) (b c : list Z) : Prop :=
  match axes1, axes2, b, c with
  | [], [], [], [] => True
  | a1 :: axes1, a2 :: axes2, b0 :: b, c0 :: c => P a1 a2 b0 c0 /\ each_pair P axes1 axes2 b c
  | _, _, _, _ => False
  end.

Lemma untiled_index axes i t : Forall strided_axis axes -> length i = length axes -> within (map n_taps axes) t ->
  weight_index axes i t = t.
Proof.
  intro F. unfold weight_index. revert i t. induction F as [|a axes [_ U] F IH]; intros [|i0 i] t L Ht; try discriminate;
    inversion Ht; subst; simpl; [reflexivity|]. rewrite untiled_weight by assumption. f_equal. apply IH; auto.
Qed.

Lemma is_ring axes : Forall strided_axis axes -> Forall ring_axis axes.
Proof. apply Forall_impl. intros a [? _]; assumption. Qed.

(* A layer with a unit weight moves what it reads at one tap. *)
Lemma apply_unit (K : commutative_ring) (l : layer) t (x : array K) o i : Forall strided_axis (axes l) ->
  1 <= group_inputs l -> length i = length (axes l) -> within (kernel_shape l) t ->
  apply l (unit_weight 0 t) no_bias x o i = x (input_channel l o 0) (samples (axes l) i t).
Proof.
  intros F G L Ht. rewrite (apply_unit_weight l no_bias x o i 0 t t); [|lia|assumption|].
  - unfold no_bias. rewrite add_zero, untiled_index by assumption. destruct (same_place t t); [|contradiction].
    unfold read. rewrite always_present; [reflexivity|]. eapply Forall_impl; [|exact (is_ring _ F)].
    exact ring_axis_present.
  - intros u Hu E. rewrite untiled_index in E; auto.
Qed.

Theorem stride_composition_theorem (K : commutative_ring) (l1 l2 : layer) (b c : list Z) :
  proper l2 -> follows l1 l2 -> Forall strided_axis (axes l1) -> Forall strided_axis (axes l2) ->
  length b = length (axes l2) -> length c = length (axes l1) ->
  (each_pair (fun a1 a2 b c => (c - stride a1 * stride a2 * b) mod n_samples a1 = 0) (axes l1) (axes l2) b c ->
   composition_commutes K l1 l2 b c)
  /\ ((1 <> 0 :> K)%K -> 1 <= group_inputs l1 -> 1 <= out_channels l2 ->
      Forall (fun a => 1 <= n_taps a) (axes l1) -> Forall (fun a => 1 <= n_taps a) (axes l2) ->
      composition_commutes K l1 l2 b c ->
      each_pair (fun a1 a2 b c => (c - stride a1 * stride a2 * b) mod n_samples a1 = 0 /\ c mod (stride a1 * stride a2) = 0)
        (axes l1) (axes l2) b c).
Proof.
  intros P [S C] A1 A2 Lb Lc. assert (L : length (axes l1) = length (axes l2)).
  { unfold input_shape, output_shape in S. apply (f_equal (@length Z)) in S. rewrite !map_length in S. auto. }
  split.
  - intros H w1 w2 b1 b2 x o i Ho Hi.
    set (d := pairwise (fun a b => stride a * b) (axes l2) b).
    assert (F2 : commutes K l2 (shift (output_shape l2) b) (shift (input_shape l2) d)).
    { apply (ring_axes_commute stride_composition_strided_shift); [apply is_ring; assumption|].
      subst d. clear -A2 Lb. revert b Lb. induction A2 as [|a axes [_ U] _ IH]; intros [|b0 b] Lb; try discriminate;
        simpl; constructor; [|apply IH; auto].
      split; [intros; rewrite !untiled_weight by assumption; reflexivity|]. rewrite Z.sub_diag. apply Zmod_0_l. }
    assert (F1 : commutes K l1 (shift (output_shape l1) d) (shift (input_shape l1) c)).
    { apply (ring_axes_commute stride_composition_strided_shift); [apply is_ring; assumption|].
      subst d. clear -A1 L Lb Lc H. revert L b c Lb Lc H. generalize (axes l2) as axes2.
      induction A1 as [|a axes [_ U] _ IH]; intros [|a2 axes2] L [|b0 b] [|c0 c] Lb Lc H; try discriminate;
        simpl in *; constructor; [|apply IH; auto; tauto].
      split; [intros; rewrite !untiled_weight by assumption; reflexivity|]. rewrite Z.mul_assoc. tauto. }
    rewrite (F2 o i Ho Hi). apply apply_ext; auto. intros h j Hh Hj. unfold at_places at 1. rewrite S, C in *.
    apply F1; assumption.
  - intros N G1 O T1 T2 H. pose proof (group_inputs_positive l2 P) as G2.
    assert (Z1 : within (kernel_shape l1) (map (fun _ => 0) (axes l1))) by (apply first_within; assumption).
    assert (Z2 : within (kernel_shape l2) (map (fun _ => 0) (axes l2))) by (apply first_within; assumption).
    assert (I2 : within (output_shape l2) (map (fun _ => 0) (axes l2))).
    { apply first_within. eapply Forall_impl; [|exact A2]. intros a [[_ [_ [? _]]] _]; assumption. }
    set (t1 := map (fun _ => 0) (axes l1)) in *. set (i := map (fun _ => 0) (axes l2)) in *.
    assert (Li : length i = length (axes l2)) by apply map_length.
    assert (Lt1 : length t1 = length (axes l1)) by apply map_length.
    assert (Ls : length (shift (output_shape l2) b i) = length (axes l2)).
    { unfold output_shape. rewrite shift_length; rewrite map_length; auto. }
    set (from := samples (axes l1) (samples (axes l2) (shift (output_shape l2) b i) i) t1).
    specialize (H (unit_weight 0 t1) (unit_weight 0 i) no_bias no_bias (unit_input from) 0 i ltac:(lia) I2).
    assert (M : forall j t, length j = length (axes l2) -> length t = length (axes l2) ->
      length (samples (axes l2) j t) = length (axes l1)).
    { intros j t Hj Ht. unfold samples. rewrite on_axes_length; auto. }
    rewrite !(apply_unit K l2), !(apply_unit K l1) in H by auto. unfold at_places, unit_input in H. fold from in H.
    destruct (same_place from from) as [_|]; [|congruence]. destruct (same_place _ from) as [E|]; [|congruence].
    clear H. subst from t1 i. unfold samples, shift, output_shape, input_shape in *.
    clear -A1 A2 T1 T2 L Lb Lc E S. revert A2 T1 T2 L b c Lb Lc E S. generalize (axes l2) as axes2.
    induction A1 as [|a1 axes1 [R1 U1] _ IH]; intros [|a2 axes2] A2 T1 T2 L [|b0 b] [|c0 c] Lb Lc E S; try discriminate;
      simpl in *; [exact I|].
    inversion A2 as [|? ? [R2 U2] A2']; inversion T1 as [|? ? K1 T1']; inversion T2 as [|? ? K2 T2']; subst.
    injection S as S0 S'. injection E as E0 E'. split; [|apply IH; auto]. clear IH E' S' A2' T1' T2' A2 T1 T2.
    assert (D : (c0 - stride a1 * stride a2 * b0) mod n_samples a1 = 0).
    { pose proof R1 as [_ [_ [Hm1 _]]]. pose proof R2 as [_ [_ [Hm2 _]]].
      destruct (ring_axis_present a1 R1) as [N1 _]. destruct (ring_axis_present a2 R2) as [N2 Z2].
      pose proof (sample_range a2 0 0 N2) as J. assert (J' : 0 <= sample a2 0 0 < n_outputs a1) by (rewrite <- S0; tauto).
      rewrite (ring_axis_moves stride_composition_strided_shift a2), S0 in E0 by (auto; lia).
      rewrite (ring_axis_moves stride_composition_strided_shift a1) in E0 by (auto; lia).
      rewrite <- Z.mul_assoc. apply (rolled_same _ (sample a1 (sample a2 0 0) 0)); auto. }
    split; [exact D|]. pose proof R1 as [_ [En1 [_ [Hs _]]]]. pose proof R2 as [_ [En2 [Hm [Hz _]]]].
    rewrite En1, <- S0, En2 in D.
    apply (stride_composition_no_other_shift (n_outputs a2) (stride a1) (stride a2) 0 b0 c0 0 0); auto; [lia|].
    unfold position, tap_position; simpl. apply Z.mod_divide in D; [|nia]. destruct D as [v D].
    apply Z.mod_divide; [nia|]. exists (- v). lia.
Qed.
Print Assumptions stride_composition_theorem.
