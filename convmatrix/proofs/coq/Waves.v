(* Waves on the axes of layers with symmetric kernels: what the theorems on cosines and sines share. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Signed.
Import ListNotations.
Open Scope Z_scope.

(* Stride 1, as many outputs as samples, one kernel for all outputs, centred: 2 p = d (k - 1). *)
Definition centred_axis (a : axis) : Prop :=
  stride a = 1 /\ tile a = 1 /\ 1 <= n_samples a /\ n_outputs a = n_samples a
  /\ 2 * pad_low a = dilation a * (n_taps a - 1).

(* A kernel that does not change when it is reversed on any one axis. *)
Fixpoint symmetric_kernel {K : Type} (sizes : list Z) (w : list Z -> K) : Prop :=
  match sizes with
  | [] => True
  | k :: sizes => (forall t rest, 0 <= t < k -> within sizes rest -> w (k - 1 - t :: rest) = w (t :: rest))
      /\ (forall t, 0 <= t < k -> symmetric_kernel sizes (fun rest => w (t :: rest)))
  end.

(* A product over the axes, of factors that depend on axis, root and coordinate. *)
Fixpoint on_each_axis {K : commutative_ring} (factor : axis -> K -> Z -> K) (axes : list axis) (roots : list K) (j : list Z) : K :=
  match axes, roots, j with
  | a :: axes, r :: roots, j0 :: j => (factor a r j0 * on_each_axis factor axes roots j)%K
  | _, _, _ => 1%K
  end.

(* For tap t: r^(2 (t d - p)) on each axis. *)
Definition tap_wave {K : commutative_ring} := on_each_axis (K := K) (fun a r t => root_power (4 * n_samples a) r (2 * position a 0 t)).

(* The exponent at tap t that belongs to an exponent u, and the odd numbers as exponents. *)
Definition exponent (a : axis) (u t : Z) : Z := 2 * position a 0 t + u.
Definition odd (j : Z) : Z := 2 * j + 1.

(* The eigenvalue, one per output channel and input channel number c of its group. *)
Definition eigenvalue {K : commutative_ring} (l : layer) (w : weights K) (roots : list K) (o c : Z) : K :=
  sum (grid (kernel_shape l)) (fun t => w o c t * tap_wave (axes l) roots t)%K.

(* What the lemmas on pairs of taps say. *)
Definition pairs_rule : Prop := forall n k d p i t : Z, 2 * p = d * (k - 1) ->
  position (Axis n n k 1 d p zero false 1) i t + position (Axis n n k 1 d p zero false 1) i (k - 1 - t) = 2 * i.

Lemma position_reversed (pairs : pairs_rule) a t : centred_axis a -> position a 0 (n_taps a - 1 - t) = - position a 0 t.
Proof.
  destruct a as [m n k s d p b fl g]. unfold centred_axis. simpl. intros (-> & -> & _ & -> & E).
  pose proof (pairs n k d p 0 (if fl then k - 1 - t else t) E) as F.
  unfold position in *. destruct fl; simpl in *.
  - replace (k - 1 - (k - 1 - (k - 1 - t))) with (k - 1 - t) in * by lia. replace (k - 1 - (k - 1 - t)) with t in * by lia. lia.
  - lia.
Qed.

Lemma position_split a i t : centred_axis a -> position a i t = position a 0 t + i.
Proof. intros (S & _). unfold position, tap_position. rewrite S. lia. Qed.

Section Waves.
Context {K : commutative_ring} (pairs : pairs_rule).
Add Ring K_ring : (ring_laws K).

(* Cosines, for s = 1, or sines, for s = -1: r^x + s r^(-x), twice or 2 i times the real one. *)
Context (wave : Z -> K -> Z -> K) (s : K).
Hypothesis wave_powers : forall n r x, wave n r x = (root_power (4 * n) r x + s * root_power (4 * n) r (- x))%K.

(* Their products over the axes, at one exponent per axis, and the vector with the exponents 2 j + 1. *)
Definition waves := on_each_axis (K := K) (fun a r x => wave (n_samples a) r x).
Definition wave_vector := on_each_axis (K := K) (fun a r j => wave (n_samples a) r (2 * j + 1)).

(* The sum over the taps of a symmetric kernel, on every axis: at exponents 2 (t d - p) + u it is a multiple of that at u. *)
Lemma sum_waves axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall w us, symmetric_kernel (map n_taps axes) w -> length us = length axes ->
  sum (grid (map n_taps axes)) (fun t => w t * waves axes roots (on_axes exponent axes us t))%K
  = (sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t) * waves axes roots us)%K.
Proof.
  intros H R. induction R as [|a r axes roots Ra R IH]; intros w [|u us] W L; try discriminate.
  - unfold waves, tap_wave. simpl. ring.
  - inversion H as [|? ? Ha Hs]; subst. injection L as L. destruct W as [W W'].
    change (map n_taps (a :: axes)) with (n_taps a :: map n_taps axes) in *. rewrite !sum_grid.
    set (v := fun t => sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * tap_wave axes roots rest)%K).
    assert (V : forall t, 0 <= t < n_taps a -> v (n_taps a - 1 - t) = v t).
    { intros t Ht. apply sum_ext. intros rest Hr. apply in_grid in Hr. rewrite W by assumption. reflexivity. }
    transitivity (sum (range (n_taps a)) (fun t => v t * wave (n_samples a) r (2 * position a 0 t + u)) * waves axes roots us)%K.
    + rewrite <- sum_scale_right. apply sum_ext. intros t Ht. apply in_range in Ht.
      transitivity (wave (n_samples a) r (2 * position a 0 t + u) * sum (grid (map n_taps axes)) (fun rest =>
        w (t :: rest) * waves axes roots (on_axes exponent axes us rest)))%K.
      * rewrite <- sum_scale. apply sum_ext. intros rest _. unfold waves. cbn [on_each_axis on_axes]. unfold exponent at 1. ring.
      * rewrite (IH Hs (fun rest => w (t :: rest))) by (assumption || apply W', Ht). unfold v. ring.
    + transitivity (sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (2 * position a 0 t))
        * (wave (n_samples a) r u * waves axes roots us))%K.
      * rewrite (wave_powers _ r u), (Rmul_assoc (ring_laws K)). f_equal.
        rewrite <- (wave_sum (4 * n_samples a) r s (n_taps a) v (fun t => 2 * position a 0 t) u).
        -- apply sum_ext. intros t _. rewrite wave_powers. reflexivity.
        -- destruct Ha as (_ & _ & N & _). lia.
        -- exact Ra.
        -- exact V.
        -- intro t. rewrite position_reversed by assumption. lia.
      * f_equal. apply sum_ext. intros t _. unfold v. rewrite <- sum_scale_right. apply sum_ext. intros rest _.
        unfold tap_wave. cbn [on_each_axis]. ring.
Qed.

Lemma wave_vector_positions axes roots i t : Forall centred_axis axes -> length i = length axes -> length t = length axes ->
  wave_vector axes roots (positions axes i t)
  = waves axes roots (on_axes exponent axes (map odd i) t).
Proof.
  intro H. revert roots i t. induction H as [|a axes Ha H IH]; intros [|r roots] [|i0 i] [|t0 t]; try discriminate; try reflexivity.
  intros Li Lt. injection Li as Li. injection Lt as Lt. unfold wave_vector, waves, positions in *.
  cbn [on_each_axis on_axes map]. rewrite IH by assumption.
  rewrite (position_split a i0 t0 Ha). f_equal. f_equal. unfold exponent, odd. lia.
Qed.

Lemma wave_vector_waves axes roots i : wave_vector axes roots i = waves axes roots (map odd i).
Proof.
  unfold wave_vector, waves. revert roots i. induction axes as [|a axes IH]; intros [|r roots] [|i0 i]; try reflexivity.
  simpl. rewrite IH. reflexivity.
Qed.

(* A boundary that continues the waves of an axis as they are. *)
Definition continues (c : continuation) : Prop := forall n r x, 1 <= n -> root_of_unity (4 * n) r ->
  sum (terms c x n) (fun term => integer (snd term) * wave n r (2 * fst term + 1))%K = wave n r (2 * x + 1).

Lemma continued_waves c axes roots : continues c -> Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall (u : K) p, length p = length axes ->
  continued (map n_samples axes) (map (fun _ => c) axes) (fun j => u * wave_vector axes roots j)%K p
  = (u * wave_vector axes roots p)%K.
Proof.
  intros C H R. induction R as [|a r axes roots Ra R IH]; intros u [|p0 p] L; try discriminate; [reflexivity|].
  inversion H as [|? ? Ha Hs]; subst. injection L as L. cbn [map continued].
  transitivity (sum (terms c p0 (n_samples a)) (fun term =>
    integer (snd term) * wave (n_samples a) r (2 * fst term + 1) * (u * wave_vector axes roots p)))%K.
  - apply sum_ext. intros term _.
    rewrite (continued_ext _ _ _ (fun j => (u * wave (n_samples a) r (2 * fst term + 1)) * wave_vector axes roots j)%K).
    + rewrite IH by assumption. ring.
    + intro j. unfold wave_vector. simpl. ring.
  - rewrite sum_scale_right, C by (assumption || apply Ha). unfold wave_vector. simpl. ring.
Qed.

(* With such a boundary and kernels that are symmetric on each axis, a layer maps the vector, with a factor u_h in each channel
   h, to the same vector with factors lambda u. *)
Theorem wave_eigenvectors c (l : layer) (w : weights K) (roots : list K) : continues c ->
  Forall centred_axis (axes l) -> Forall2 (fun a r => root_of_unity (4 * n_samples a) r) (axes l) roots ->
  (forall o c, symmetric_kernel (kernel_shape l) (w o c)) ->
  forall (u : Z -> K) o i, within (output_shape l) i ->
  apply_continued l (map (fun _ => c) (axes l)) w no_bias (fun h j => u h * wave_vector (axes l) roots j)%K o i
  = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
     * wave_vector (axes l) roots i)%K.
Proof.
  intros C H R W u o i Hi. unfold apply_continued, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
  apply sum_ext. intros h _. unfold eigenvalue. pose proof (shape_length n_outputs _ _ Hi) as Li.
  transitivity (u (input_channel l o h) * sum (grid (kernel_shape l)) (fun t =>
    w o h t * waves (axes l) roots (on_axes exponent (axes l) (map odd i) t)))%K.
  - rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid, (shape_length n_taps) in Ht.
    unfold input_shape. rewrite continued_waves, weight_index_untiled, wave_vector_positions; try assumption; [ring| |].
    + eapply Forall_impl; [|exact H]. intros a (_ & T & _). exact T.
    + apply on_axes_length; assumption.
  - unfold kernel_shape. rewrite sum_waves, wave_vector_waves; [ring|assumption|assumption|apply W|].
    rewrite map_length. exact Li.
Qed.
End Waves.
