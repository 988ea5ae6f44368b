(* Theorem sine-eigenvectors: the DST-II vectors are eigenvectors of every convolution with the antisymmetric boundary and a
   symmetric kernel, one block of channels per frequency. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Signed Waves Lemmas_sine_eigenvectors.
Import ListNotations.
Open Scope Z_scope.

(* 2 i sin(pi f x / (2 n)) = r^x - r^(-x) for r = exp(2 pi i f / (4 n)), or any other r with r^(4 n) = 1. *)
Definition twice_sine {K : commutative_ring} (n : Z) (r : K) (x : Z) : K :=
  (root_power (4 * n) r x - root_power (4 * n) r (- x))%K.
(* The DST-II vector, times 2 i per axis: v_f(j) = product over the axes of 2 i sin(pi f (2 j + 1) / (2 n)). The eigenvalue
   is the sum of the waves r^(2 (t d - p)), which over all taps of a symmetric kernel sum to what the cosines of
   pi f (t d - p) / n do, as in the theorem cosine-eigenvectors. *)
Definition sine_vector {K : commutative_ring} := on_each_axis (K := K) (fun a r j => twice_sine (n_samples a) r (2 * j + 1)).

Section Sine.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma sine_powers n (r : K) x : twice_sine n r x = (root_power (4 * n) r x + - (1) * root_power (4 * n) r (- x))%K.
Proof. unfold twice_sine. ring. Qed.

(* By the lemma, what is read of the sines is the sine at the position. *)
Lemma sine_continues : continues (K := K) twice_sine (signed antisymmetric).
Proof.
  intros n r x Hn R. unfold sum, terms, read_terms, twice_sine. cbn [fold_right fst snd].
  set (s := antisymmetric_sample_0 x n). set (e := antisymmetric_factor_0 x n).
  pose proof (root_power_period (4 * n) r) as M.
  destruct (sine_eigenvectors_fold n x Hn) as [[S E]|[S E]]; fold s in E; fold e in S; rewrite S;
    apply Z.mod_divide in E; try lia; destruct E as [q E].
  - rewrite (M (2 * s + 1) (2 * x + 1) q) by lia. rewrite (M (- (2 * s + 1)) (- (2 * x + 1)) (- q)) by lia.
    rewrite integer_1. ring.
  - rewrite (M (2 * s + 1) (- (2 * x + 1)) q) by lia. rewrite (M (- (2 * s + 1)) (2 * x + 1) (- q)) by lia.
    rewrite integer_minus_1. ring.
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
  pose proof (wave_eigenvectors sine_eigenvectors_pairs twice_sine (- (1))%K sine_powers (signed antisymmetric) l w roots
    sine_continues H R W) as M.
  split; [exact M|].
  intros G C i Hi. specialize (M (fun _ => 1%K) 0 i Hi). unfold group_inputs in M. rewrite G, C in M. simpl in M.
  etransitivity; [exact M|]. change (wave_vector twice_sine (axes l) roots i) with (sine_vector (axes l) roots i). ring.
Qed.
End Sine.
Print Assumptions sine_eigenvectors_theorem.
