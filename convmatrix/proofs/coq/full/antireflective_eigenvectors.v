(* Theorem antireflective-eigenvectors: constants, a ramp, and sines that vanish at both end samples, are eigenvectors of every
   convolution on one axis with the antireflective boundary and a symmetric kernel, one block of channels each. For all
   weights, channels and groups. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Signed Waves Lemmas_antireflective_eigenvectors.
Import ListNotations.
Open Scope Z_scope.

(* 2 i sin(pi f j / (n - 1)) = r^j - r^(-j) for r = exp(2 pi i f / (2 n - 2)), or any other r with r^(2 n - 2) = 1. *)
Definition twice_sine {K : commutative_ring} (n : Z) (r : K) (j : Z) : K :=
  (root_power (2 * n - 2) r j - root_power (2 * n - 2) r (- j))%K.

Section Antireflective.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* What is read of an affine function, and of the sines, is its value at the position. *)
Lemma affine_read n (alpha beta : K) x : 2 <= n ->
  sum (terms (signed antireflect) x n) (fun term => integer (snd term) * (alpha + beta * integer (fst term)))%K
  = (alpha + beta * integer x)%K.
Proof.
  intro N. unfold sum, terms, read_terms. cbn [fold_right fst snd].
  assert (C : integer (antireflect_factor_0 x n + antireflect_factor_1 x n + antireflect_factor_2 x n) = 1%K :> K).
  { rewrite antireflective_eigenvectors_constants by lia. apply integer_1. }
  assert (R : integer (antireflect_factor_0 x n * antireflect_sample_0 x n + antireflect_factor_1 x n * antireflect_sample_1 x n
    + antireflect_factor_2 x n * antireflect_sample_2 x n) = integer x :> K).
  { f_equal. apply antireflective_eigenvectors_ramps. exact N. }
  rewrite !integer_add in C. rewrite !integer_add, !integer_mul in R. rewrite <- R.
  transitivity (alpha * (integer (antireflect_factor_0 x n) + integer (antireflect_factor_1 x n)
    + integer (antireflect_factor_2 x n)) + beta * (integer (antireflect_factor_0 x n) * integer (antireflect_sample_0 x n)
    + integer (antireflect_factor_1 x n) * integer (antireflect_sample_1 x n)
    + integer (antireflect_factor_2 x n) * integer (antireflect_sample_2 x n)))%K; [ring|]. rewrite C. ring.
Qed.

Lemma sine_read n (r : K) x : 2 <= n -> root_of_unity (2 * n - 2) r ->
  sum (terms (signed antireflect) x n) (fun term => integer (snd term) * twice_sine n r (fst term))%K = twice_sine n r x.
Proof.
  intros N R. unfold sum, terms, read_terms, twice_sine. cbn [fold_right fst snd].
  pose proof (root_power_period (2 * n - 2) r) as M.
  destruct (antireflective_eigenvectors_fold n x N) as [F [-> ->]].
  rewrite (M (n - 1) (- (n - 1)) 1) by lia. change (- 0) with 0.
  set (s := antireflect_sample_0 x n) in *. set (e := antireflect_factor_0 x n) in *.
  replace (1 <? n) with true in F by (symmetry; apply Z.ltb_lt; lia).
  destruct F as [[S E]|[S E]]; rewrite S; apply Z.mod_divide in E; try lia; destruct E as [q E].
  - rewrite (M s x q) by lia. rewrite (M (- s) (- x) (- q)) by lia. rewrite integer_1. ring.
  - rewrite (M s (- x) q) by lia. rewrite (M (- s) x (- q)) by lia. rewrite integer_minus_1. ring.
Qed.

(* The sum over the taps of a symmetric kernel. *)
Lemma sine_taps a (r : K) (w : Z -> K) i : centred_axis a -> 2 <= n_samples a -> root_of_unity (2 * n_samples a - 2) r ->
  (forall t, 0 <= t < n_taps a -> w (n_taps a - 1 - t) = w t) ->
  sum (range (n_taps a)) (fun t => w t * twice_sine (n_samples a) r (position a i t))%K
  = (sum (range (n_taps a)) (fun t => w t * root_power (2 * n_samples a - 2) r (position a 0 t))
     * twice_sine (n_samples a) r i)%K.
Proof.
  intros A N R W.
  pose proof (wave_sum (2 * n_samples a - 2) r (- (1))%K (n_taps a) w (position a 0) i) as E.
  transitivity (sum (range (n_taps a)) (fun t => w t * root_power (2 * n_samples a - 2) r (position a 0 t)) *
    (root_power (2 * n_samples a - 2) r i + - (1) * root_power (2 * n_samples a - 2) r (- i)))%K;
    [|unfold twice_sine; ring].
  rewrite <- E; [|lia|assumption|assumption|intro; apply (position_reversed antireflective_eigenvectors_pairs); assumption].
  apply sum_ext. intros t _. unfold twice_sine. rewrite (position_split a i t A). ring.
Qed.

Lemma integer_opp z : integer (- z) = (- integer z)%K :> K.
Proof.
  assert (E : (integer (- z) + integer z)%K = 0%K :> K).
  { rewrite <- integer_add, Z.add_opp_diag_l. apply integer_0. }
  transitivity (integer (K := K) (- z) + integer z - integer z)%K; [ring|]. rewrite E. ring.
Qed.

Lemma affine_taps a (alpha beta : K) (w : Z -> K) i : centred_axis a -> (forall s : K, (s + s = 0)%K -> s = 0%K) ->
  (forall t, 0 <= t < n_taps a -> w (n_taps a - 1 - t) = w t) ->
  sum (range (n_taps a)) (fun t => w t * (alpha + beta * integer (position a i t)))%K
  = (sum (range (n_taps a)) w * (alpha + beta * integer i))%K.
Proof.
  intros A Two W.
  assert (Z : sum (range (n_taps a)) (fun t => w t * integer (position a 0 t))%K = 0%K).
  { apply Two. rewrite sum_reversed at 1. rewrite <- sum_add. apply sum_zero. intros t Ht. apply in_range in Ht.
    rewrite W, (position_reversed antireflective_eigenvectors_pairs), integer_opp by assumption. ring. }
  transitivity (sum (range (n_taps a)) (fun t => w t * (alpha + beta * integer i) + beta * (w t * integer (position a 0 t))))%K.
  - apply sum_ext. intros t _. rewrite (position_split a i t A), integer_add. ring.
  - rewrite sum_add, sum_scale, Z, sum_scale_right. ring.
Qed.

(* On one axis with the antireflective boundary and symmetric kernels, a layer multiplies the sines, with a factor u_h in each
   channel h, by the sums of w_t r^(t d - p), and affine functions by the sums of the weights, where 2 is no zero divisor. *)
Theorem antireflective_eigenvectors_theorem (l : layer) (a : axis) (w : weights K) (u : Z -> K) o i :
  axes l = [a] -> centred_axis a -> 2 <= n_samples a -> 0 <= i < n_outputs a ->
  (forall c t, 0 <= t < n_taps a -> w o c [n_taps a - 1 - t] = w o c [t]) ->
  (forall r, root_of_unity (2 * n_samples a - 2) r ->
    apply_continued l [signed antireflect] w no_bias (fun h j => u h * twice_sine (n_samples a) r (nth 0 j 0%Z))%K o [i]
    = (sum (range (group_inputs l)) (fun c => u (input_channel l o c) * sum (range (n_taps a)) (fun t =>
        w o c [t] * root_power (2 * n_samples a - 2) r (position a 0 t))) * twice_sine (n_samples a) r i)%K)
  /\ ((forall s : K, (s + s = 0)%K -> s = 0%K) -> forall alpha beta : K,
    apply_continued l [signed antireflect] w no_bias (fun h j => u h * (alpha + beta * integer (nth 0 j 0%Z)))%K o [i]
    = (sum (range (group_inputs l)) (fun c => u (input_channel l o c) * sum (range (n_taps a)) (fun t => w o c [t]))
       * (alpha + beta * integer i))%K).
Proof.
  intros L A N Hi W. pose proof A as (_ & T & _).
  assert (G : forall v : Z -> K, (forall x, sum (terms (signed antireflect) x (n_samples a))
      (fun term => integer (snd term) * v (fst term))%K = v x) ->
    apply_continued l [signed antireflect] w no_bias (fun h j => u h * v (nth 0 j 0%Z))%K o [i]
    = sum (range (group_inputs l)) (fun c => u (input_channel l o c)
        * sum (range (n_taps a)) (fun t => w o c [t] * v (position a i t)))%K).
  { intros v V. unfold apply_continued, no_bias, kernel_shape, input_shape. rewrite L, (Radd_0_l (ring_laws K)).
    apply sum_ext. intros c _. cbn [map]. rewrite sum_grid, <- sum_scale. apply sum_ext. intros t _. simpl grid.
    unfold sum at 1. cbn [fold_right]. unfold weight_index, positions. cbn [on_axes continued].
    replace (weight a i t) with t by (unfold weight; rewrite T, Z.mod_1_r; lia).
    transitivity (w o c [t] * (u (input_channel l o c) * sum (terms (signed antireflect) (position a i t) (n_samples a))
      (fun term => integer (snd term) * v (fst term))) + 0)%K.
    - do 2 f_equal. rewrite <- sum_scale. apply sum_ext. intros term _. simpl. ring.
    - rewrite V. ring. }
  split.
  - intros r R. rewrite G by (intro x; apply sine_read; assumption). rewrite <- sum_scale_right. apply sum_ext. intros c _.
    rewrite (sine_taps a r (fun t => w o c [t]) i A N R) by (intros; apply W; assumption). ring.
  - intros Two alpha beta. rewrite (G (fun j => alpha + beta * integer j)%K) by (intro x; apply affine_read; assumption).
    rewrite <- sum_scale_right. apply sum_ext. intros c _.
    rewrite (affine_taps a alpha beta (fun t => w o c [t]) i A Two) by (intros; apply W; assumption). ring.
Qed.
End Antireflective.
Print Assumptions antireflective_eigenvectors_theorem.
