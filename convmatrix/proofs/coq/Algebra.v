(* Facts about layers that several theorems use: untiled weights, places on several axes, channels in groups. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers.
Import ListNotations.
Open Scope Z_scope.

(* --- one fact per axis, for all axes --- *)

(* A layer whose outputs all use one kernel uses the weight of tap t at tap t. *)
Lemma weight_index_untiled axes i t : Forall (fun a => tile a = 1) axes ->
  length i = length axes -> length t = length axes -> weight_index axes i t = t.
Proof.
  intro H. revert i t. induction H as [|a axes Ha H IH]; intros [|i0 i] [|t0 t]; simpl; try discriminate; [reflexivity|].
  intros Hi Ht. change (weight a i0 t0 :: weight_index axes i t = t0 :: t). rewrite IH by lia.
  unfold weight. rewrite Ha, Z.mod_1_r. reflexivity.
Qed.

Lemma shape_length {A} (f : A -> Z) l place : within (map f l) place -> length place = length l.
Proof. intro H. apply within_length in H. rewrite map_length in H. exact H. Qed.

(* --- channels --- *)

Lemma group_size g v n : 1 <= g -> n = g * v -> n / g = v.
Proof. intros G ->. rewrite Z.mul_comm. apply Z.div_mul. lia. Qed.

Section Channels.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* An additive map, such as complex conjugation, of a sum. *)
Lemma sum_additive {A} (f : K -> K) : f 0%K = 0%K -> (forall r s, f (r + s)%K = (f r + f s)%K) ->
  forall (l : list A) (g : A -> K), f (sum l g) = sum l (fun a => f (g a)).
Proof. intros Z S l g. induction l as [|a l IH]; simpl; [exact Z|]. rewrite S, IH. reflexivity. Qed.

(* Two double sums exchanged. *)
Lemma sum_swap_4 {A B C D} (la : list A) (lb : list B) (lc : list C) (ld : list D) (f : A -> B -> C -> D -> K) :
  sum la (fun a => sum lb (fun b => sum lc (fun c => sum ld (fun d => f a b c d))))
  = sum lc (fun c => sum ld (fun d => sum la (fun a => sum lb (fun b => f a b c d)))).
Proof.
  transitivity (sum la (fun a => sum lc (fun c => sum ld (fun d => sum lb (fun b => f a b c d))))).
  - apply sum_ext. intros a _. rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
  - rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
Qed.

Lemma proper_groups l : proper l ->
  1 <= group_inputs l /\ 1 <= group_outputs l /\ in_channels l = groups l * group_inputs l /\ out_channels l = groups l * group_outputs l.
Proof.
  intros [G [_ [[u [U E]] [v [V F]]]]]. unfold group_inputs, group_outputs.
  rewrite (group_size _ u) by auto. rewrite (group_size _ v) by auto. auto.
Qed.

(* The sum over the channels of a group that are channel h: at most one is. *)
Lemma sum_input_channel l o h (f : Z -> K) : proper l -> 0 <= o < out_channels l -> 0 <= h < in_channels l ->
  sum (range (group_inputs l)) (fun c => if Z.eq_dec (input_channel l o c) h then f c else 0%K)
  = if Z.eq_dec (o / group_outputs l) (h / group_inputs l) then f (h mod group_inputs l) else 0%K.
Proof.
  intros P Ho Hh. destruct (proper_groups l P) as (U & V & E & F). unfold input_channel.
  set (u := group_inputs l) in *. set (v := group_outputs l) in *.
  pose proof (Z.mod_pos_bound h u ltac:(lia)). pose proof (Z_div_mod_eq_full h u).
  destruct (Z.eq_dec _ _) as [G|G].
  - rewrite (sum_single _ (h mod u)); [|apply range_distinct|apply in_range; lia|].
    + destruct (Z.eq_dec _ _) as [_|N]; [reflexivity|]. exfalso. apply N. rewrite G, Z.mul_comm. symmetry. exact H0.
    + intros c Hc N. destruct (Z.eq_dec _ _) as [C|]; [|reflexivity]. exfalso. apply N. nia.
  - apply sum_zero. intros c Hc. apply in_range in Hc. fold u in Hc. destruct (Z.eq_dec _ _) as [C|]; [|reflexivity].
    exfalso. apply G. rewrite <- C, Z.add_comm, Z.div_add by lia. rewrite (Z.div_small c u) by lia. reflexivity.
Qed.

(* The entry of a layer: zero between channels of different groups, else the sum of the weights of the taps that read. *)
Lemma entry_by_group l (w : weights K) o i h j : proper l -> 0 <= o < out_channels l -> 0 <= h < in_channels l ->
  entry l w o i h j = if Z.eq_dec (o / group_outputs l) (h / group_inputs l)
    then sum (grid (kernel_shape l)) (fun t => if same_place (samples (axes l) i t) j
      then w o (h mod group_inputs l) (weight_index (axes l) i t) else 0%K) else 0%K.
Proof.
  intros P Ho Hh. unfold entry.
  rewrite <- (sum_input_channel l o h (fun c => sum (grid (kernel_shape l)) (fun t =>
    if same_place (samples (axes l) i t) j then w o c (weight_index (axes l) i t) else 0%K))) by assumption.
  apply sum_ext. intros c _. destruct (Z.eq_dec _ _); [reflexivity|]. apply sum_zero. reflexivity.
Qed.
End Channels.
