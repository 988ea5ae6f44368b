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

(* --- sums --- *)

Section Sums.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* An additive map, such as complex conjugation, of a sum. *)
Lemma sum_additive {A} (f : K -> K) : f 0%K = 0%K -> (forall r s, f (r + s)%K = (f r + f s)%K) ->
  forall (l : list A) (g : A -> K), f (sum l g) = sum l (fun a => f (g a)).
Proof. intros Z S l g. induction l as [|a l IH]; simpl; [exact Z|]. rewrite S, IH. reflexivity. Qed.

Lemma sum_pairs {A B} (l : list A) (l' : list B) (f : A * B -> K) :
  sum (list_prod l l') f = sum l (fun a => sum l' (fun b => f (a, b))).
Proof. induction l as [|a l IH]; simpl; [reflexivity|]. rewrite sum_app, sum_map, IH. reflexivity. Qed.

Lemma distinct_pairs {A B} (l : list A) (l' : list B) : NoDup l -> NoDup l' -> NoDup (list_prod l l').
Proof.
  intros D D'. induction D as [|a l Ha D IH]; simpl; [constructor|]. apply distinct_app; [|exact IH|].
  - apply FinFun.Injective_map_NoDup; [|exact D']. intros b c E. congruence.
  - intros [a' b] H G. apply in_map_iff in H. destruct H as (c & E & _). injection E as <- <-.
    apply in_prod_iff in G. tauto.
Qed.

(* The coefficients of a linear form are determined by its values. *)
Lemma linear_form {A} (same : forall a b : A, {a = b} + {a <> b}) (l : list A) (f g : A -> K) : NoDup l ->
  (forall e : A -> K, sum l (fun a => e a * f a) = sum l (fun a => e a * g a))%K -> forall a, In a l -> f a = g a.
Proof.
  intros D H a Ha. specialize (H (fun b => if same b a then 1 else 0)%K).
  rewrite !(sum_single l a) in H; try assumption;
    try (intros b _ N; destruct (same b a); [congruence|ring]).
  destruct (same a a) as [_|N]; [|congruence]. rewrite !(Rmul_1_l (ring_laws K)) in H. exact H.
Qed.

(* Two double sums exchanged. *)
Lemma sum_swap_4 {A B C D} (la : list A) (lb : list B) (lc : list C) (ld : list D) (f : A -> B -> C -> D -> K) :
  sum la (fun a => sum lb (fun b => sum lc (fun c => sum ld (fun d => f a b c d))))
  = sum lc (fun c => sum ld (fun d => sum la (fun a => sum lb (fun b => f a b c d)))).
Proof.
  transitivity (sum la (fun a => sum lc (fun c => sum ld (fun d => sum lb (fun b => f a b c d))))).
  - apply sum_ext. intros a _. rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
  - rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
Qed.

End Sums.

(* --- channels --- *)

Lemma group_size g v n : 1 <= g -> n = g * v -> n / g = v.
Proof. intros G ->. rewrite Z.mul_comm. apply Z.div_mul. lia. Qed.

Section Channels.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

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

(* The sum over the samples that a tap reads: one, or none. *)
Lemma sum_read l i t (f : list Z -> K) : Forall (fun a => 1 <= n_samples a) (axes l) ->
  within (output_shape l) i -> within (kernel_shape l) t ->
  sum (grid (input_shape l)) (fun j => if same_place (samples (axes l) i t) j then f j else 0%K)
  = read f (samples (axes l) i t).
Proof.
  intros S Hi Ht. apply (shape_length n_outputs) in Hi. apply (shape_length n_taps) in Ht.
  unfold read. destruct (present _) eqn:R.
  - rewrite (sum_single _ (samples (axes l) i t)); [|apply grid_distinct| |].
    + destruct (same_place _ _); congruence.
    + apply in_grid, present_within; assumption.
    + intros j _ N. destruct (same_place _ _); congruence.
  - apply sum_zero. intros j Hj. apply in_grid in Hj. destruct (same_place _ _) as [<-|]; [|reflexivity]. exfalso.
    revert R. generalize (samples (axes l) i t) Hj. unfold input_shape. generalize (map n_samples (axes l)).
    induction 1 as [|n j0 s j' H ? IH]; simpl; [discriminate|]. destruct (Z.leb_spec 0 j0); [exact IH|lia].
Qed.
End Channels.

(* An array has a place, or none. *)
Lemma within_some sizes : (exists t, within sizes t) \/ (forall t, ~ within sizes t).
Proof.
  destruct (grid sizes) as [|t rest] eqn:E.
  - right. intros t H. apply in_grid in H. rewrite E in H. exact H.
  - left. exists t. apply in_grid. rewrite E. simpl. auto.
Qed.
