(* Theorem sine-eigenvectors: the DST-II vectors are eigenvectors of every convolution with the antisymmetric boundary and a
   symmetric kernel, one block of channels per frequency. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Signed Lemmas_sine_eigenvectors.
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

(* 2 i sin(pi f x / (2 n)) = r^x - r^(-x) for r = exp(2 pi i f / (4 n)), or any other r with r^(4 n) = 1. *)
Definition twice_sine {K : commutative_ring} (n : Z) (r : K) (x : Z) : K :=
  (root_power (4 * n) r x - root_power (4 * n) r (- x))%K.
(* A product over the axes, of factors that depend on axis, root and coordinate. *)
Fixpoint on_each_axis {K : commutative_ring} (factor : axis -> K -> Z -> K) (axes : list axis) (roots : list K) (j : list Z) : K :=
  match axes, roots, j with
  | a :: axes, r :: roots, j0 :: j => (factor a r j0 * on_each_axis factor axes roots j)%K
  | _, _, _ => 1%K
  end.
(* The DST-II vector, times 2 i per axis: v_f(j) = product over the axes of 2 i sin(pi f (2 j + 1) / (2 n)). *)
Definition sine_vector {K : commutative_ring} := on_each_axis (K := K) (fun a r j => twice_sine (n_samples a) r (2 * j + 1)).
(* For tap t: r^(2 (t d - p)) on each axis. Over all taps of a symmetric kernel these sum to what the cosines of pi f (t d - p)
   / n do, as in the theorem cosine-eigenvectors. *)
Definition tap_wave {K : commutative_ring} := on_each_axis (K := K) (fun a r t => root_power (4 * n_samples a) r (2 * position a 0 t)).

(* The eigenvalue, one per output channel and input channel number c of its group. *)
Definition eigenvalue {K : commutative_ring} (l : layer) (w : weights K) (roots : list K) (o c : Z) : K :=
  sum (grid (kernel_shape l)) (fun t => w o c t * tap_wave (axes l) roots t)%K.

Section Sine.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* One axis. By the lemmas, what is read of the sines is the sine at the position, and taps t and k - 1 - t are at equal
   distances on either side. *)
Lemma sine_read n (r : K) x : 1 <= n -> root_of_unity (4 * n) r ->
  sum (terms (signed antisymmetric) x n) (fun term => integer (snd term) * twice_sine n r (2 * fst term + 1))%K
  = twice_sine n r (2 * x + 1).
Proof.
  intros Hn R. unfold sum, terms, read_terms, twice_sine. cbn [fold_right fst snd].
  set (s := antisymmetric_sample_0 x n). set (e := antisymmetric_factor_0 x n).
  pose proof (root_power_period (4 * n) r) as M.
  destruct (sine_eigenvectors_fold n x Hn) as [[S E]|[S E]]; fold s in E; fold e in S; rewrite S;
    apply Z.mod_divide in E; try lia; destruct E as [q E].
  - rewrite (M (2 * s + 1) (2 * x + 1) q) by lia. rewrite (M (- (2 * s + 1)) (- (2 * x + 1)) (- q)) by lia.
    rewrite integer_1. ring.
  - rewrite (M (2 * s + 1) (- (2 * x + 1)) q) by lia. rewrite (M (- (2 * s + 1)) (2 * x + 1) (- q)) by lia.
    rewrite integer_minus_1. ring.
Qed.

Lemma position_reversed a t : centred_axis a -> position a 0 (n_taps a - 1 - t) = - position a 0 t.
Proof.
  destruct a as [m n k s d p b fl g]. unfold centred_axis. simpl. intros (-> & -> & _ & -> & E).
  pose proof (sine_eigenvectors_pairs n k d p 0 (if fl then k - 1 - t else t) E) as F.
  unfold position in *. destruct fl; simpl in *.
  - replace (k - 1 - (k - 1 - (k - 1 - t))) with (k - 1 - t) in * by lia. replace (k - 1 - (k - 1 - t)) with t in * by lia. lia.
  - lia.
Qed.

Lemma sine_axis a (r : K) (w : Z -> K) i : centred_axis a -> root_of_unity (4 * n_samples a) r ->
  (forall t, 0 <= t < n_taps a -> w (n_taps a - 1 - t) = w t) ->
  sum (range (n_taps a)) (fun t => w t * twice_sine (n_samples a) r (2 * position a i t + 1))%K
  = (sum (range (n_taps a)) (fun t => w t * root_power (4 * n_samples a) r (2 * position a 0 t))
     * twice_sine (n_samples a) r (2 * i + 1))%K.
Proof.
  intros A R W. pose proof A as (S & _ & N & _).
  pose proof (wave_sum (4 * n_samples a) r (- (1))%K (n_taps a) w (fun t => 2 * position a 0 t) (2 * i + 1)) as E.
  transitivity (sum (range (n_taps a)) (fun t => w t * root_power (4 * n_samples a) r (2 * position a 0 t)) *
    (root_power (4 * n_samples a) r (2 * i + 1) + - (1) * root_power (4 * n_samples a) r (- (2 * i + 1))))%K;
    [|unfold twice_sine; ring].
  rewrite <- E; [|lia|assumption|assumption|intro; rewrite position_reversed by assumption; lia].
  apply sum_ext. intros t _. unfold twice_sine.
  replace (2 * position a i t + 1) with (2 * position a 0 t + (2 * i + 1))
    by (unfold position, tap_position; rewrite S; lia). ring.
Qed.

Lemma symmetric_sum (sizes : list Z) k (w v : list Z -> K) : symmetric_kernel (k :: sizes) w ->
  forall t, 0 <= t < k -> sum (grid sizes) (fun rest => w ((k - 1 - t)%Z :: rest) * v rest)%K
  = sum (grid sizes) (fun rest => w (t :: rest) * v rest)%K.
Proof. intros [H _] t Ht. apply sum_ext. intros rest Hr. apply in_grid in Hr. rewrite H by assumption. reflexivity. Qed.

(* What is read of the vector, on every axis: the vector at the position. *)
Lemma continued_sines axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall (u : K) p, length p = length axes ->
  continued (map n_samples axes) (map (fun _ => signed antisymmetric) axes) (fun j => u * sine_vector axes roots j)%K p
  = (u * sine_vector axes roots p)%K.
Proof.
  intros H R. induction R as [|a r axes roots Ra R IH]; intros u [|p0 p] L; try discriminate; [reflexivity|].
  inversion H as [|? ? Ha Hs]; subst. injection L as L. cbn [map continued].
  transitivity (sum (terms (signed antisymmetric) p0 (n_samples a)) (fun term =>
    integer (snd term) * twice_sine (n_samples a) r (2 * fst term + 1) * (u * sine_vector axes roots p)))%K.
  - apply sum_ext. intros term _.
    rewrite (continued_ext _ _ _ (fun j => (u * twice_sine (n_samples a) r (2 * fst term + 1)) * sine_vector axes roots j)%K).
    + rewrite IH by assumption. ring.
    + intro j. unfold sine_vector. simpl. ring.
  - rewrite sum_scale_right, sine_read by (assumption || apply Ha). unfold sine_vector. simpl. ring.
Qed.

(* The sum over the taps, on every axis. *)
Lemma sine_axes axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall w i, symmetric_kernel (map n_taps axes) w -> within (map n_outputs axes) i ->
  sum (grid (map n_taps axes)) (fun t => w t * sine_vector axes roots (positions axes i t))%K
  = (sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t) * sine_vector axes roots i)%K.
Proof.
  intros H R. induction R as [|a r axes roots Ra R IH]; intros w is W Hi.
  - unfold sine_vector, tap_wave. simpl. ring.
  - inversion H as [|? ? Ha Hs]; subst. simpl in W, Hi. inversion Hi as [|? i ? is' Hi0 Hi1]; subst.
    change (map n_taps (a :: axes)) with (n_taps a :: map n_taps axes). rewrite !sum_grid.
    change (sine_vector (a :: axes) (r :: roots) (i :: is'))
      with (twice_sine (n_samples a) r (2 * i + 1) * sine_vector axes roots is')%K.
    set (v := fun t => sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * tap_wave axes roots rest)%K).
    transitivity (sum (range (n_taps a)) (fun t => v t * twice_sine (n_samples a) r (2 * position a i t + 1))
                  * sine_vector axes roots is')%K.
    + rewrite <- sum_scale_right. apply sum_ext. intros t Ht. apply in_range in Ht.
      transitivity (twice_sine (n_samples a) r (2 * position a i t + 1) *
        sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * sine_vector axes roots (positions axes is' rest)))%K.
      * rewrite <- sum_scale. apply sum_ext. intros rest _.
        change (sine_vector (a :: axes) (r :: roots) (positions (a :: axes) (i :: is') (t :: rest)))
          with (twice_sine (n_samples a) r (2 * position a i t + 1) * sine_vector axes roots (positions axes is' rest))%K. ring.
      * rewrite (IH Hs (fun rest => w (t :: rest)) is') by (assumption || (apply W; assumption)). unfold v. ring.
    + rewrite (sine_axis a r v i Ha Ra).
      2: { intros t Ht. apply symmetric_sum; assumption. }
      rewrite <- !(Rmul_assoc (ring_laws K)). f_equal. apply sum_ext. intros t _. unfold v. rewrite <- sum_scale_right.
      apply sum_ext. intros rest _.
      change (tap_wave (a :: axes) (r :: roots) (t :: rest))
        with (root_power (4 * n_samples a) r (2 * position a 0 t) * tap_wave axes roots rest)%K. ring.
Qed.

(* With the antisymmetric boundary and kernels that are symmetric on each axis, a layer maps the sine vector, with a factor u_h
   in each channel h, to the same vector with factors lambda u. With one channel v_f is an eigenvector. *)
Theorem sine_eigenvectors_theorem (l : layer) (w : weights K) (roots : list K) :
  Forall centred_axis (axes l) -> Forall2 (fun a r => root_of_unity (4 * n_samples a) r) (axes l) roots ->
  (forall o c, symmetric_kernel (kernel_shape l) (w o c)) ->
  let sines := map (fun _ => signed antisymmetric) (axes l) in
  (forall (u : Z -> K) o i, within (output_shape l) i ->
    apply_continued l sines w no_bias (fun h j => u h * sine_vector (axes l) roots j)%K o i
    = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
       * sine_vector (axes l) roots i)%K)
  /\ (groups l = 1 -> in_channels l = 1 -> forall i, within (output_shape l) i ->
      apply_continued l sines w no_bias (fun _ j => 1 * sine_vector (axes l) roots j)%K 0 i
      = (eigenvalue l w roots 0 0 * sine_vector (axes l) roots i)%K).
Proof.
  intros H R W sines.
  assert (M : forall (u : Z -> K) o i, within (output_shape l) i ->
    apply_continued l sines w no_bias (fun h j => u h * sine_vector (axes l) roots j)%K o i
    = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
       * sine_vector (axes l) roots i)%K).
  { intros u o i Hi. unfold apply_continued, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
    apply sum_ext. intros c _. unfold eigenvalue.
    transitivity (u (input_channel l o c) *
      sum (grid (kernel_shape l)) (fun t => w o c t * sine_vector (axes l) roots (positions (axes l) i t)))%K.
    - rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid in Ht.
      pose proof (shape_length n_outputs _ _ Hi) as Li. pose proof (shape_length n_taps _ _ Ht) as Lt.
      unfold sines, input_shape. rewrite continued_sines, weight_index_untiled; [ring| | | | |assumption|].
      + eapply Forall_impl; [|exact H]. intros a (_ & T & _). exact T.
      + exact Li.
      + exact Lt.
      + assumption.
      + apply on_axes_length; assumption.
    - unfold kernel_shape. rewrite sine_axes by (assumption || apply W). ring. }
  split; [exact M|].
  intros G C i Hi. specialize (M (fun _ => 1%K) 0 i Hi). unfold group_inputs in M. rewrite G, C in M. simpl in M.
  rewrite M. ring.
Qed.
End Sine.
Print Assumptions sine_eigenvectors_theorem.
