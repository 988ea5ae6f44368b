(* Theorem cosine-eigenvectors: the DCT-II vectors are eigenvectors of every convolution with the symmetric boundary and a
   symmetric kernel, one block of channels per frequency. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Lemmas_cosine_eigenvectors.
Import ListNotations.
Open Scope Z_scope.

(* The symmetric boundary, stride 1, as many outputs as samples, one kernel for all outputs, centred: 2 p = d (k - 1). *)
Definition centred_axis (a : axis) : Prop :=
  axis_boundary a = symmetric /\ stride a = 1 /\ tile a = 1 /\ 1 <= n_samples a /\ n_outputs a = n_samples a
  /\ 2 * pad_low a = dilation a * (n_taps a - 1).

(* A kernel that does not change when it is reversed on any one axis. *)
Fixpoint symmetric_kernel {K : Type} (sizes : list Z) (w : list Z -> K) : Prop :=
  match sizes with
  | [] => True
  | k :: sizes => (forall t rest, 0 <= t < k -> within sizes rest -> w (k - 1 - t :: rest) = w (t :: rest))
      /\ (forall t, 0 <= t < k -> symmetric_kernel sizes (fun rest => w (t :: rest)))
  end.

(* 2 cos(pi f x / (2 n)) = r^x + r^(-x) for r = exp(2 pi i f / (4 n)), or any other r with r^(4 n) = 1. *)
Definition twice_cosine {K : commutative_ring} (n : Z) (r : K) (x : Z) : K :=
  (root_power (4 * n) r x + root_power (4 * n) r (- x))%K.

(* A product over the axes, of factors that depend on axis, root and coordinate. *)
Fixpoint on_each_axis {K : commutative_ring} (factor : axis -> K -> Z -> K) (axes : list axis) (roots : list K) (j : list Z) : K :=
  match axes, roots, j with
  | a :: axes, r :: roots, j0 :: j => (factor a r j0 * on_each_axis factor axes roots j)%K
  | _, _, _ => 1%K
  end.
(* The DCT-II vector, times 2 per axis: v_f(j) = product over the axes of 2 cos(pi f (2 j + 1) / (2 n)). *)
Definition cosine_vector {K : commutative_ring} := on_each_axis (K := K) (fun a r j => twice_cosine (n_samples a) r (2 * j + 1)).
(* For tap t: r^(2 (t d - p)) on each axis, and 2 cos(pi f (t d - p) / n). *)
Definition tap_wave {K : commutative_ring} := on_each_axis (K := K) (fun a r t => root_power (4 * n_samples a) r (2 * position a 0 t)).
Definition tap_cosine {K : commutative_ring} := on_each_axis (K := K) (fun a r t => twice_cosine (n_samples a) r (2 * position a 0 t)).

(* The eigenvalue, one per output channel and input channel number c of its group. *)
Definition eigenvalue {K : commutative_ring} (l : layer) (w : weights K) (roots : list K) (o c : Z) : K :=
  sum (grid (kernel_shape l)) (fun t => w o c t * tap_wave (axes l) roots t)%K.

Section Cosine.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* One axis. By the lemmas, the cosine at what is read is that at the position, and taps t and k - 1 - t are at equal
   distances on either side. *)
Lemma cosine_sample a (r : K) x : 1 <= n_samples a -> axis_boundary a = symmetric -> root_of_unity (4 * n_samples a) r ->
  twice_cosine (n_samples a) r (2 * read_sample (axis_boundary a) x (n_samples a) + 1) = twice_cosine (n_samples a) r (2 * x + 1).
Proof.
  intros Hn -> R. set (n := n_samples a) in *. set (s := read_sample symmetric x n). unfold twice_cosine.
  pose proof (root_power_period (4 * n) r) as M.
  destruct (cosine_eigenvectors_fold n x Hn) as [E|E]; fold s in E; apply Z.mod_divide in E; try lia; destruct E as [q E].
  - rewrite (M (2 * s + 1) (2 * x + 1) q) by lia. rewrite (M (- (2 * s + 1)) (- (2 * x + 1)) (- q)) by lia. reflexivity.
  - rewrite (M (2 * s + 1) (- (2 * x + 1)) q) by lia. rewrite (M (- (2 * s + 1)) (2 * x + 1) (- q)) by lia. ring.
Qed.

Lemma position_reversed a t : centred_axis a -> position a 0 (n_taps a - 1 - t) = - position a 0 t.
Proof.
  destruct a as [m n k s d p b fl g]. unfold centred_axis. simpl. intros (-> & -> & -> & _ & -> & E).
  pose proof (cosine_eigenvectors_pairs n k d p 0 (if fl then k - 1 - t else t) E) as F.
  unfold position in *. destruct fl; simpl in *.
  - replace (k - 1 - (k - 1 - (k - 1 - t))) with (k - 1 - t) in * by lia. replace (k - 1 - (k - 1 - t)) with t in * by lia. lia.
  - lia.
Qed.

Lemma cosine_axis a (r : K) (w : Z -> K) i : centred_axis a -> root_of_unity (4 * n_samples a) r ->
  (forall t, 0 <= t < n_taps a -> w (n_taps a - 1 - t) = w t) ->
  sum (range (n_taps a)) (fun t => w t * twice_cosine (n_samples a) r (2 * sample a i t + 1))%K
  = (sum (range (n_taps a)) (fun t => w t * root_power (4 * n_samples a) r (2 * position a 0 t))
     * twice_cosine (n_samples a) r (2 * i + 1))%K.
Proof.
  intros A R W. pose proof A as (B & S & _ & N & _).
  pose proof (wave_sum (4 * n_samples a) r 1%K (n_taps a) w (fun t => 2 * position a 0 t) (2 * i + 1)) as E.
  transitivity (sum (range (n_taps a)) (fun t => w t * root_power (4 * n_samples a) r (2 * position a 0 t)) *
    (root_power (4 * n_samples a) r (2 * i + 1) + 1 * root_power (4 * n_samples a) r (- (2 * i + 1))))%K;
    [|unfold twice_cosine; ring].
  rewrite <- E; [|lia|assumption|assumption|intro; rewrite position_reversed by assumption; lia].
  apply sum_ext. intros t _. unfold sample. rewrite cosine_sample by assumption. unfold twice_cosine.
  replace (2 * position a i t + 1) with (2 * position a 0 t + (2 * i + 1))
    by (unfold position, tap_position; rewrite S; lia). ring.
Qed.

Lemma symmetric_sum (sizes : list Z) k (w v : list Z -> K) : symmetric_kernel (k :: sizes) w ->
  forall t, 0 <= t < k -> sum (grid sizes) (fun rest => w ((k - 1 - t)%Z :: rest) * v rest)%K
  = sum (grid sizes) (fun rest => w (t :: rest) * v rest)%K.
Proof. intros [H _] t Ht. apply sum_ext. intros rest Hr. apply in_grid in Hr. rewrite H by assumption. reflexivity. Qed.

(* Every axis. *)
Lemma cosine_axes axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall w i, symmetric_kernel (map n_taps axes) w -> within (map n_outputs axes) i ->
  sum (grid (map n_taps axes)) (fun t => w t * cosine_vector axes roots (samples axes i t))%K
  = (sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t) * cosine_vector axes roots i)%K.
Proof.
  intros H R. induction R as [|a r axes roots Ra R IH]; intros w is W Hi.
  - unfold cosine_vector, tap_wave. simpl. ring.
  - inversion H as [|? ? Ha Hs]; subst. simpl in W, Hi. inversion Hi as [|? i ? is' Hi0 Hi1]; subst.
    change (map n_taps (a :: axes)) with (n_taps a :: map n_taps axes). rewrite !sum_grid.
    change (cosine_vector (a :: axes) (r :: roots) (i :: is'))
      with (twice_cosine (n_samples a) r (2 * i + 1) * cosine_vector axes roots is')%K.
    set (v := fun t => sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * tap_wave axes roots rest)%K).
    transitivity (sum (range (n_taps a)) (fun t => v t * twice_cosine (n_samples a) r (2 * sample a i t + 1))
                  * cosine_vector axes roots is')%K.
    + rewrite <- sum_scale_right. apply sum_ext. intros t Ht. apply in_range in Ht.
      transitivity (twice_cosine (n_samples a) r (2 * sample a i t + 1) *
        sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * cosine_vector axes roots (samples axes is' rest)))%K.
      * rewrite <- sum_scale. apply sum_ext. intros rest _.
        change (cosine_vector (a :: axes) (r :: roots) (samples (a :: axes) (i :: is') (t :: rest)))
          with (twice_cosine (n_samples a) r (2 * sample a i t + 1) * cosine_vector axes roots (samples axes is' rest))%K. ring.
      * rewrite (IH Hs (fun rest => w (t :: rest)) is') by (assumption || (apply W; assumption)). unfold v. ring.
    + rewrite (cosine_axis a r v i Ha Ra).
      2: { intros t Ht. apply symmetric_sum; assumption. }
      rewrite <- !(Rmul_assoc (ring_laws K)). f_equal. apply sum_ext. intros t _. unfold v. rewrite <- sum_scale_right.
      apply sum_ext. intros rest _.
      change (tap_wave (a :: axes) (r :: roots) (t :: rest))
        with (root_power (4 * n_samples a) r (2 * position a 0 t) * tap_wave axes roots rest)%K. ring.
Qed.

(* The eigenvalue by cosines: 2 cosines per axis sum to twice the waves. *)
Lemma eigenvalue_cosines axes roots : Forall centred_axis axes ->
  Forall2 (fun a (r : K) => root_of_unity (4 * n_samples a) r) axes roots ->
  forall w, symmetric_kernel (map n_taps axes) w ->
  sum (grid (map n_taps axes)) (fun t => w t * tap_cosine axes roots t)%K
  = (power (1 + 1) (length axes) * sum (grid (map n_taps axes)) (fun t => w t * tap_wave axes roots t))%K.
Proof.
  intros H R. induction R as [|a r axes roots Ra R IH]; intros w W.
  - unfold tap_cosine, tap_wave. simpl. ring.
  - inversion H as [|? ? Ha Hs]; subst.
    change (map n_taps (a :: axes)) with (n_taps a :: map n_taps axes) in *. rewrite !sum_grid.
    set (v := fun t => sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * tap_wave axes roots rest)%K).
    transitivity (power (1 + 1) (length axes)
      * sum (range (n_taps a)) (fun t => v t * twice_cosine (n_samples a) r (2 * position a 0 t)))%K.
    + rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_range in Ht.
      transitivity (twice_cosine (n_samples a) r (2 * position a 0 t)
        * sum (grid (map n_taps axes)) (fun rest => w (t :: rest) * tap_cosine axes roots rest))%K.
      * rewrite <- sum_scale. apply sum_ext. intros rest _.
        change (tap_cosine (a :: axes) (r :: roots) (t :: rest))
          with (twice_cosine (n_samples a) r (2 * position a 0 t) * tap_cosine axes roots rest)%K. ring.
      * rewrite (IH Hs (fun rest => w (t :: rest))) by (apply W; assumption). unfold v. ring.
    + transitivity (power (1 + 1) (length (a :: axes))
        * sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (2 * position a 0 t)))%K.
      * unfold twice_cosine.
        transitivity (power (1 + 1) (length axes)
          * (sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (2 * position a 0 t))
             + sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (- (2 * position a 0 t)))))%K.
        -- f_equal. rewrite <- sum_add. apply sum_ext. intros t _. ring.
        -- replace (sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (- (2 * position a 0 t))))%K
             with (sum (range (n_taps a)) (fun t => v t * root_power (4 * n_samples a) r (2 * position a 0 t)))%K.
           ++ simpl length. simpl power. ring.
           ++ rewrite sum_reversed. apply sum_ext. intros t Ht. apply in_range in Ht.
              unfold v. rewrite (symmetric_sum _ _ w) by assumption.
              rewrite position_reversed by assumption. do 2 f_equal. lia.
      * f_equal. apply sum_ext. intros t _. unfold v. rewrite <- sum_scale_right. apply sum_ext. intros rest _.
        change (tap_wave (a :: axes) (r :: roots) (t :: rest))
          with (root_power (4 * n_samples a) r (2 * position a 0 t) * tap_wave axes roots rest)%K. ring.
Qed.

(* With the symmetric boundary and kernels that are symmetric on each axis, a layer maps the cosine vector, with a factor u_h
   in each channel h, to the same vector with factors lambda u; 2^N lambda = sum over t of w_t times the product over
   the N axes of 2 cos(pi f (t d - p) / n). With one channel v_f is an eigenvector, for the eigenvalue lambda. *)
Theorem cosine_eigenvectors_theorem (l : layer) (w : weights K) (roots : list K) :
  Forall centred_axis (axes l) -> Forall2 (fun a r => root_of_unity (4 * n_samples a) r) (axes l) roots ->
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
  intros H R W.
  assert (M : forall (u : Z -> K) o i, within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * cosine_vector (axes l) roots j)%K o i
    = (sum (range (group_inputs l)) (fun c => eigenvalue l w roots o c * u (input_channel l o c))
       * cosine_vector (axes l) roots i)%K).
  { intros u o i Hi. unfold apply, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
    apply sum_ext. intros c _. unfold eigenvalue.
    transitivity (u (input_channel l o c) *
      sum (grid (kernel_shape l)) (fun t => w o c t * cosine_vector (axes l) roots (samples (axes l) i t)))%K.
    - rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid in Ht.
      unfold read. rewrite always_present, weight_index_untiled; [ring| | | |].
      + eapply Forall_impl; [|exact H]. intros a (_ & _ & T & _). exact T.
      + apply (shape_length n_outputs), Hi.
      + apply (shape_length n_taps), Ht.
      + eapply Forall_impl; [|exact H]. intros a (B & _ & _ & N & _). rewrite B. split; [exact N | discriminate].
    - unfold kernel_shape. rewrite cosine_axes by (assumption || apply W). ring. }
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
