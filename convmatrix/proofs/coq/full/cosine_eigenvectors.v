(* Theorem cosine-eigenvectors: the DCT-II vectors are eigenvectors of every convolution with the symmetric boundary and a
   symmetric kernel, one block of channels per frequency. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Signed Waves Lemmas_cosine_eigenvectors.
Import ListNotations.
Open Scope Z_scope.

(* 2 cos(pi f x / (2 n)) = r^x + r^(-x) for r = exp(2 pi i f / (4 n)), or any other r with r^(4 n) = 1. *)
Definition twice_cosine {K : commutative_ring} (n : Z) (r : K) (x : Z) : K :=
  (root_power (4 * n) r x + root_power (4 * n) r (- x))%K.
(* The DCT-II vector, times 2 per axis: v_f(j) = product over the axes of 2 cos(pi f (2 j + 1) / (2 n)). *)
Definition cosine_vector {K : commutative_ring} := on_each_axis (K := K) (fun a r j => twice_cosine (n_samples a) r (2 * j + 1)).
(* For tap t: 2 cos(pi f (t d - p) / n) on each axis. *)
Definition tap_cosine {K : commutative_ring} := on_each_axis (K := K) (fun a r t => twice_cosine (n_samples a) r (2 * position a 0 t)).

Section Cosine.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma cosine_powers n (r : K) x : twice_cosine n r x = (root_power (4 * n) r x + 1 * root_power (4 * n) r (- x))%K.
Proof. unfold twice_cosine. ring. Qed.

(* By the lemma, the cosine at what is read is that at the position. *)
Lemma cosine_continues : continues (K := K) twice_cosine (plain symmetric).
Proof.
  intros n r x Hn R. unfold terms. set (s := read_sample symmetric x n).
  destruct (read_sample_range symmetric x n Hn) as [[_ E]|[E _]]; [discriminate|]. fold s in E. apply Z.leb_le in E. rewrite E.
  unfold sum. cbn [fold_right fst snd]. rewrite integer_1. transitivity (twice_cosine n r (2 * s + 1)); [ring|].
  unfold twice_cosine. pose proof (root_power_period (4 * n) r) as M.
  destruct (cosine_eigenvectors_fold n x Hn) as [F|F]; fold s in F; apply Z.mod_divide in F; try lia; destruct F as [q F].
  - rewrite (M (2 * s + 1) (2 * x + 1) q) by lia. rewrite (M (- (2 * s + 1)) (- (2 * x + 1)) (- q)) by lia. reflexivity.
  - rewrite (M (2 * s + 1) (- (2 * x + 1)) q) by lia. rewrite (M (- (2 * s + 1)) (2 * x + 1) (- q)) by lia. ring.
Qed.

(* The eigenvalue by cosines: 2 cosines per axis sum to twice the waves. *)
Lemma eigenvalue_cosines axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall w, symmetric_kernel (map n_taps axes) w ->
  sum (grid (map n_taps axes)) (fun t => w t * tap_cosine axes roots t)%K
  = (power (1 + 1) (length axes) * sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t))%K.
Proof.
  intros H R w W.
  pose proof (sum_waves cosine_eigenvectors_pairs twice_cosine 1%K cosine_powers axes roots H R w (map (fun _ => 0) axes) W
    (map_length _ _)) as S.
  transitivity (sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t)
    * waves twice_cosine axes roots (map (fun _ => 0%Z) axes))%K.
  - rewrite <- S. apply sum_ext. intros t Ht. apply in_grid, (shape_length n_taps) in Ht. f_equal.
    unfold tap_cosine, waves. clear H R W S. revert roots t Ht. induction axes as [|a axes IH]; intros [|r roots] [|t0 t] L;
      try discriminate; try reflexivity. injection L as L. cbn [on_each_axis on_axes map]. rewrite IH by assumption. f_equal. f_equal. unfold exponent. lia.
  - replace (waves twice_cosine axes roots (map (fun _ => 0%Z) axes)) with (power (K := K) (1 + 1) (length axes)); [ring|].
    clear W S. unfold waves. induction R as [|a r axes roots Ra R IH]; [reflexivity|].
    inversion H as [|? ? Ha Hs]; subst. simpl. rewrite <- IH by assumption. unfold twice_cosine. change (- 0) with 0.
    rewrite root_power_0; [ring | destruct Ha as (_ & _ & N & _); lia | exact Ra].
Qed.

(* With the symmetric boundary and kernels that are symmetric on each axis, a layer maps the cosine vector, with a factor u_h
   in each channel h, to the same vector with factors lambda u; 2^N lambda = sum over t of w_t times the product over
   the N axes of 2 cos(pi f (t d - p) / n). With one channel v_f is an eigenvector, for the eigenvalue lambda. *)
Theorem cosine_eigenvectors_theorem (l : layer) (w : weights K) (roots : list K) :
  Forall (fun a => axis_boundary a = symmetric) (axes l) -> Forall centred_axis (axes l) ->
  Forall2 (fun a r => root_of_unity (4 * n_samples a) r) (axes l) roots ->
  (forall o c, symmetric_kernel (kernel_shape l) (w o c)) ->
  (forall (u : Z -> K) o i, within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * cosine_vector (axes l) roots j)%K o i
    = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
       * cosine_vector (axes l) roots i)%K)
  /\ (forall o c, power (1 + 1)%K (length (axes l)) * eigenvalue l w roots o c
      = sum (grid (kernel_shape l)) (fun t => w o c t * tap_cosine (axes l) roots t))%K
  /\ (groups l = 1 -> in_channels l = 1 -> forall i, within (output_shape l) i ->
      apply l w no_bias (fun _ j => cosine_vector (axes l) roots j) 0 i
      = (eigenvalue l w roots 0 0 * cosine_vector (axes l) roots i)%K).
Proof.
  intros B H R W.
  assert (M : forall (u : Z -> K) o i, within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * cosine_vector (axes l) roots j)%K o i
    = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
       * cosine_vector (axes l) roots i)%K).
  { intros u o i Hi. rewrite <- apply_continued_plain by exact Hi.
    replace (map (fun a => plain (axis_boundary a)) (axes l)) with (map (fun _ => plain symmetric) (axes l)).
    - exact (wave_eigenvectors cosine_eigenvectors_pairs twice_cosine 1%K cosine_powers (plain symmetric) l w roots
        cosine_continues H R W u o i Hi).
    - apply map_ext_in. intros a Ha. rewrite Forall_forall in B. rewrite (B a Ha). reflexivity. }
  split; [exact M|]. split.
  { intros o c. symmetry. apply eigenvalue_cosines; try assumption. apply W. }
  intros G C i Hi. specialize (M (fun _ => 1%K) 0 i Hi). unfold group_inputs in M. rewrite G, C in M. simpl in M.
  transitivity (apply l w no_bias (fun _ j => 1 * cosine_vector (axes l) roots j)%K 0 i).
  - unfold apply. f_equal. apply sum_ext. intros c _. apply sum_ext. intros t _. f_equal. unfold read.
    destruct (present _); ring.
  - rewrite M. ring.
Qed.
End Cosine.
Print Assumptions cosine_eigenvectors_theorem.
