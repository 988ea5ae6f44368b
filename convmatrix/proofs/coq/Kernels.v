(* Layers of one channel, given by their axes and one kernel, and the convolution of kernels. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra.
Import ListNotations.
Open Scope Z_scope.

(* A layer with one input and one output channel. *)
Definition single (axes : list axis) : layer := Layer axes 1 1 1.

(* The output of such a layer with the kernel w. *)
Definition convolve {K : commutative_ring} (axes : list axis) (w x : list Z -> K) : list Z -> K :=
  apply (single axes) (fun _ _ => w) no_bias (fun _ => x) 0.

(* The product of two kernels: at tap y the sum of w_t v_u over all t and u with mix t u = y. *)
Definition mixed_product {K : commutative_ring} (mix : list Z -> list Z -> list Z) (sizes sizes' : list Z)
  (w v : list Z -> K) : list Z -> K := fun y =>
  sum (grid sizes) (fun t => sum (grid sizes') (fun u => if same_place (mix t u) y then (w t * v u)%K else 0%K)).

(* The convolution of two kernels: the sum of w_t v_u over all t and u with t + u = y, on every axis. *)
Definition kernel_product {K : commutative_ring} : list Z -> list Z -> (list Z -> K) -> (list Z -> K) -> list Z -> K :=
  mixed_product (pairwise Z.add).

Section Kernels.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma convolve_sum axes (w x : list Z -> K) i : Forall (fun a => tile a = 1) axes -> length i = length axes ->
  convolve axes w x i = sum (grid (map n_taps axes)) (fun t => w t * read x (samples axes i t))%K.
Proof.
  intros U Li. unfold convolve, apply, no_bias. change (group_inputs (single axes)) with 1. simpl.
  match goal with |- (0 + (?s + 0))%K = _ => transitivity s; [ring|] end.
  apply sum_ext. intros t Ht. apply in_grid, (shape_length n_taps) in Ht.
  rewrite weight_index_untiled by assumption. reflexivity.
Qed.

(* A sum over the taps of the product is a double sum over the taps of both kernels. *)
Lemma mixed_sum mix (sizes sizes' sizes'' : list Z) (w v : list Z -> K) (f : list Z -> K) :
  (forall t u, within sizes t -> within sizes' u -> within sizes'' (mix t u)) ->
  sum (grid sizes'') (fun y => mixed_product mix sizes sizes' w v y * f y)%K
  = sum (grid sizes) (fun t => sum (grid sizes') (fun u => w t * v u * f (mix t u)))%K.
Proof.
  intro H. unfold mixed_product.
  transitivity (sum (grid sizes'') (fun y => sum (list_prod (grid sizes) (grid sizes')) (fun tu =>
    if same_place (mix (fst tu) (snd tu)) y then w (fst tu) * v (snd tu) * f (mix (fst tu) (snd tu)) else 0)))%K.
  - apply sum_ext. intros y _. rewrite sum_pairs, <- sum_scale_right. apply sum_ext. intros t _.
    rewrite <- sum_scale_right. apply sum_ext. intros u _. simpl. destruct (same_place _ _) as [E|]; [rewrite E|]; ring.
  - rewrite <- (sum_by_value same_place (list_prod (grid sizes) (grid sizes')) (grid sizes'')
      (fun tu => mix (fst tu) (snd tu)) (fun tu => w (fst tu) * v (snd tu) * f (mix (fst tu) (snd tu)))%K).
    + rewrite sum_pairs. reflexivity.
    + apply grid_distinct.
    + intros [t u] I. apply in_prod_iff in I. destruct I as [Ht Hu]. apply in_grid in Ht, Hu. apply in_grid, H; assumption.
Qed.
(* A layer with one group of channels and one kernel for all outputs. *)
Lemma apply_one_group axes ci co (w : weights K) (x : array K) o i : Forall (fun a => tile a = 1) axes ->
  0 <= o < co -> length i = length axes ->
  apply (Layer axes 1 ci co) w no_bias x o i
  = sum (range ci) (fun c => sum (grid (map n_taps axes)) (fun t => w o c t * read (x c) (samples axes i t)))%K.
Proof.
  intros U Ho Li. unfold apply, no_bias. rewrite (Radd_0_l (ring_laws K)).
  unfold group_inputs, input_channel, group_outputs, group_inputs. simpl. rewrite !Z.div_1_r.
  apply sum_ext. intros c _. apply sum_ext. intros t Ht. apply in_grid, (shape_length n_taps) in Ht.
  rewrite weight_index_untiled by assumption. rewrite Z.div_small by assumption. reflexivity.
Qed.
End Kernels.

(* --- compositions of layers with channels --- *)

(* Tap t of a, read from where tap u of b reads, is tap t + u of c; nothing is read where b reads nothing. *)
Definition composes (a b c : axis) : Prop :=
  tile a = 1 /\ tile b = 1 /\ tile c = 1 /\ n_outputs c = n_outputs b /\ n_taps c = n_taps a + n_taps b - 1 /\ n_samples b = n_outputs a
  /\ 1 <= n_samples b
  /\ forall i t u, 0 <= i < n_outputs b -> 0 <= t < n_taps a -> 0 <= u < n_taps b ->
     if sample b i u <? 0 then sample c i (t + u) < 0 else sample c i (t + u) = sample a (sample b i u) t.

(* The kernel of two layers, w and then v, with m channels between: the convolutions of their kernels, summed over these. *)
Definition composed_weights {K : commutative_ring} (m : Z) (sizes sizes' : list Z) (w v : weights K) : weights K := fun o c =>
  fun y => sum (range m) (fun h => kernel_product sizes sizes' (w h c) (v o h) y).

Section Composition.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).
Context {P : Type} (first second both : P -> axis) (parameters : list P).
Hypothesis H : Forall (fun s => composes (first s) (second s) (both s)) parameters.

Lemma composed_samples i t u : within (map n_outputs (map second parameters)) i ->
  within (map n_taps (map first parameters)) t -> within (map n_taps (map second parameters)) u ->
  within (map n_taps (map both parameters)) (pairwise Z.add t u)
  /\ (present (samples (map second parameters) i u) = true ->
      samples (map both parameters) i (pairwise Z.add t u)
      = samples (map first parameters) (samples (map second parameters) i u) t)
  /\ (present (samples (map second parameters) i u) = false ->
      present (samples (map both parameters) i (pairwise Z.add t u)) = false).
Proof.
  unfold samples. revert i t u. pose proof H as G. clear H. induction G as [|s rest Hs _ IH]; intros is ts us Hi Ht Hu; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl.
  - split; [constructor|]. split; [reflexivity | discriminate].
  - destruct (IH is' ts' us' Hi1 Ht1 Hu1) as (W & A & B). destruct Hs as (_ & _ & _ & _ & T & _ & _ & Hs).
    specialize (Hs i t u Hi0 Ht0 Hu0). destruct (Z.ltb_spec (sample (second s) i u) 0) as [N|N].
    + split; [constructor; [lia|exact W]|]. destruct (Z.leb_spec 0 (sample (second s) i u)) as [|_]; [lia|].
      destruct (Z.leb_spec 0 (sample (both s) i (t + u))) as [|_]; [lia|]. simpl. split; [discriminate | reflexivity].
    + split; [constructor; [lia|exact W]|]. destruct (Z.leb_spec 0 (sample (second s) i u)) as [_|]; [|lia]. simpl.
      split; intro R.
      * rewrite Hs, A by assumption. reflexivity.
      * rewrite B by assumption. apply Bool.andb_false_r.
Qed.

Theorem composition (ci m co : Z) (w v : weights K) (x : array K) o i : 0 <= o < co ->
  within (map n_outputs (map second parameters)) i ->
  apply (Layer (map second parameters) 1 m co) v no_bias (apply (Layer (map first parameters) 1 ci m) w no_bias x) o i
  = apply (Layer (map both parameters) 1 ci co)
      (composed_weights m (map n_taps (map first parameters)) (map n_taps (map second parameters)) w v) no_bias x o i.
Proof.
  intros Ho Hi.
  assert (U : Forall (fun a => tile a = 1) (map first parameters) /\ Forall (fun a => tile a = 1) (map second parameters)
    /\ Forall (fun a => tile a = 1) (map both parameters)).
  { repeat split; apply Forall_map; (eapply Forall_impl; [|exact H]); intros s (A & B & C & _); assumption. }
  destruct U as (UA & UB & UC). pose proof (shape_length n_outputs _ _ Hi) as Li. rewrite map_length in Li.
  rewrite apply_one_group by (assumption || (rewrite map_length; assumption)).
  rewrite (apply_one_group (map both parameters)) by (assumption || (rewrite map_length; assumption)).
  set (T := grid (map n_taps (map first parameters))). set (V := grid (map n_taps (map second parameters))).
  transitivity (sum (range m) (fun h => sum (range ci) (fun c => sum T (fun t => sum V (fun u =>
    w h c t * v o h u * read (x c) (samples (map both parameters) i (pairwise Z.add t u)))))))%K.
  - apply sum_ext. intros h Hh. apply in_range in Hh.
    transitivity (sum V (fun u => sum (range ci) (fun c => sum T (fun t =>
      w h c t * v o h u * read (x c) (samples (map both parameters) i (pairwise Z.add t u))))))%K.
    + apply sum_ext. intros u Hu. apply in_grid in Hu. unfold read at 1. destruct (present _) eqn:R.
      * rewrite apply_one_group.
        -- rewrite <- sum_scale. apply sum_ext. intros c _. rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid in Ht.
           destruct (composed_samples i t u Hi Ht Hu) as (_ & E & _). rewrite E by assumption. ring.
        -- exact UA.
        -- exact Hh.
        -- unfold samples. rewrite on_axes_length; rewrite ?map_length; auto.
           apply (shape_length n_taps) in Hu. rewrite map_length in Hu. exact Hu.
      * rewrite sum_zero; [ring|]. intros c _. apply sum_zero. intros t Ht. apply in_grid in Ht.
        destruct (composed_samples i t u Hi Ht Hu) as (_ & _ & E). unfold read. rewrite E by assumption. ring.
    + rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
  - rewrite sum_swap. apply sum_ext. intros c _. unfold composed_weights.
    transitivity (sum (range m) (fun h => sum (grid (map n_taps (map both parameters))) (fun y =>
      kernel_product (map n_taps (map first parameters)) (map n_taps (map second parameters)) (w h c) (v o h) y
      * read (x c) (samples (map both parameters) i y))))%K.
    + apply sum_ext. intros h _. unfold kernel_product. rewrite mixed_sum; [reflexivity|].
      intros t u Ht Hu. apply (composed_samples i t u Hi Ht Hu).
    + rewrite sum_swap. apply sum_ext. intros y _. apply sum_scale_right.
Qed.
End Composition.

(* --- layers that differ in their taps --- *)

(* The kernel that has, at each tap y, the sum of the weights of all taps t with move t = y; zero if there is none. *)
Definition moved_kernel {K : commutative_ring} (sizes : list Z) (move : list Z -> list Z) (w : list Z -> K) : list Z -> K :=
  fun y => sum (grid sizes) (fun t => if same_place (move t) y then w t else 0%K).

(* The layer with another axis for each axis. *)
Definition with_axes (change : axis -> axis) (l : layer) : layer :=
  Layer (map change (axes l)) (groups l) (in_channels l) (out_channels l).

Section Moved.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma moved_sum (sizes sizes' : list Z) move (w f : list Z -> K) :
  (forall t, within sizes t -> within sizes' (move t)) ->
  sum (grid sizes') (fun y => moved_kernel sizes move w y * f y)%K = sum (grid sizes) (fun t => w t * f (move t))%K.
Proof.
  intro H. unfold moved_kernel.
  transitivity (sum (grid sizes') (fun y => sum (grid sizes) (fun t => if same_place (move t) y then w t * f (move t) else 0)))%K.
  - apply sum_ext. intros y _. rewrite <- sum_scale_right. apply sum_ext. intros t _.
    destruct (same_place _ _) as [E|]; [rewrite E|]; ring.
  - symmetry. apply (sum_by_value same_place (grid sizes) (grid sizes') move (fun t => w t * f (move t))%K).
    + apply grid_distinct.
    + intros t Ht. apply in_grid in Ht. apply in_grid, H, Ht.
Qed.

(* If no two taps are moved to one place, the moved kernel has the weight of t at the place of t. *)
Lemma moved_kernel_at (sizes : list Z) move (w : list Z -> K) t : within sizes t ->
  (forall u, within sizes u -> move u = move t -> u = t) -> moved_kernel sizes move w (move t) = w t.
Proof.
  intros Ht H. unfold moved_kernel. rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
  - destruct (same_place _ _); congruence.
  - intros u Hu N. apply in_grid in Hu. destruct (same_place _ _) as [E|]; [|reflexivity]. exfalso. auto.
Qed.

Lemma moved_kernel_elsewhere (sizes : list Z) move (w : list Z -> K) y :
  (forall t, within sizes t -> move t <> y) -> moved_kernel sizes move w y = 0%K.
Proof.
  intro H. apply sum_zero. intros t Ht. apply in_grid in Ht. destruct (same_place _ _) as [E|]; [|reflexivity].
  exfalso. exact (H t Ht E).
Qed.

(* Where tap t of output i reads what tap (move t) of output (place i) reads on the changed axis, on every axis, the layer is
   the changed one with the moved kernel. *)
Lemma moved_layer (change : axis -> axis) (move place : axis -> Z -> Z) (l : layer) (w : weights K) b x o i :
  Forall (fun a => tile a = 1 /\ tile (change a) = 1 /\ forall i t, 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
    0 <= move a t < n_taps (change a) /\ sample a i t = sample (change a) (place a i) (move a t)) (axes l) ->
  within (output_shape l) i ->
  apply l w b x o i = apply (with_axes change l)
    (fun o c => moved_kernel (kernel_shape l) (each (map move (axes l))) (w o c)) b x o (each (map place (axes l)) i).
Proof.
  intros H Hi. unfold apply. f_equal. apply sum_ext. intros c _.
  assert (S : forall t, within (kernel_shape l) t ->
    within (kernel_shape (with_axes change l)) (each (map move (axes l)) t)
    /\ samples (axes l) i t = samples (axes (with_axes change l)) (each (map place (axes l)) i) (each (map move (axes l)) t)
    /\ length (each (map place (axes l)) i) = length (axes l)).
  { revert i Hi. unfold output_shape, kernel_shape, with_axes, samples. simpl.
    induction H as [|a axes (_ & _ & Ha) _ IH]; intros is Hi ts Ht;
      inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl.
    - repeat split. constructor.
    - destruct (IH is' Hi1 ts' Ht1) as (W & E & L). destruct (Ha i t Hi0 Ht0) as [M S].
      split; [constructor; assumption|]. split; [rewrite S, E; reflexivity | lia]. }
  change (input_channel (with_axes change l) o c) with (input_channel l o c).
  transitivity (sum (grid (kernel_shape (with_axes change l))) (fun y =>
    moved_kernel (kernel_shape l) (each (map move (axes l))) (w o c) y
    * read (x (input_channel l o c)) (samples (axes (with_axes change l)) (each (map place (axes l)) i) y)))%K.
  - rewrite moved_sum by (intros t Ht; apply S, Ht). apply sum_ext. intros t Ht. apply in_grid in Ht.
    destruct (S t Ht) as (_ & E & _). rewrite <- E. rewrite weight_index_untiled; [reflexivity| | |].
    + eapply Forall_impl; [|exact H]. intros a (T & _). exact T.
    + apply (shape_length n_outputs), Hi.
    + apply (shape_length n_taps), Ht.
  - apply sum_ext. intros y Hy. apply in_grid in Hy. rewrite weight_index_untiled; [reflexivity| | |].
    + simpl. apply Forall_map. eapply Forall_impl; [|exact H]. intros a (_ & T & _). exact T.
    + simpl. rewrite map_length. unfold output_shape in Hi. clear - Hi. revert i Hi.
      induction (axes l) as [|a axes IH]; intros is Hi; inversion Hi; subst; simpl; [reflexivity|]. rewrite IH by assumption.
      reflexivity.
    + apply (shape_length n_taps), Hy.
Qed.

(* Where tap t of output i reads the same and has the same weight as tap t of output (place i) on the changed axis, on every
   axis, the layer is the changed one with the same weights. *)
Lemma same_taps (change : axis -> axis) (place : axis -> Z -> Z) (l : layer) (w : weights K) b x o i :
  Forall (fun a => n_taps (change a) = n_taps a /\ forall i t, 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
    sample a i t = sample (change a) (place a i) t /\ weight a i t = weight (change a) (place a i) t) (axes l) ->
  within (output_shape l) i ->
  apply l w b x o i = apply (with_axes change l) w b x o (each (map place (axes l)) i).
Proof.
  intros H Hi. unfold apply. f_equal. apply sum_ext. intros c _.
  change (input_channel (with_axes change l) o c) with (input_channel l o c).
  assert (E : kernel_shape (with_axes change l) = kernel_shape l).
  { unfold kernel_shape, with_axes. simpl. rewrite map_map. clear Hi. induction H as [|a axes (T & _) _ IH]; simpl; congruence. }
  rewrite E. apply sum_ext. intros t Ht. apply in_grid in Ht.
  assert (S : samples (axes l) i t = samples (axes (with_axes change l)) (each (map place (axes l)) i) t
    /\ weight_index (axes l) i t = weight_index (axes (with_axes change l)) (each (map place (axes l)) i) t).
  { revert i t Hi Ht. clear E. unfold output_shape, kernel_shape, with_axes, samples, weight_index. simpl.
    induction H as [|a axes (_ & Ha) _ IH]; intros is ts Hi Ht;
      inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; [split; reflexivity|].
    destruct (IH is' ts' Hi1 Ht1) as [E F]. destruct (Ha i t Hi0 Ht0) as [S W]. rewrite E, F, S, W. split; reflexivity. }
  destruct S as [S W]. rewrite S, W. reflexivity.
Qed.
End Moved.
