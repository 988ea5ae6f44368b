(* Theorem fourier-blocks: the Fourier transform turns a circular layer with channels into blocks, one per frequency of its
   outputs. For all weights, channels, groups, strides, dilations and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Lemmas_fourier_blocks.
Import ListNotations.
Open Scope Z_scope.

(* A ring of s m samples, for stride s and m outputs, with one kernel for all outputs. *)
Definition strided_ring (a : axis) : Prop :=
  axis_boundary a = circular /\ 1 <= stride a /\ tile a = 1 /\ 1 <= n_outputs a /\ n_samples a = stride a * n_outputs a.

(* The product over the axes of omega^(f step j), where omega^(s m) = 1: the Fourier vectors v_f on the samples, with steps of
   one sample, and u_f on the outputs, with steps of s samples. *)
Fixpoint waves {K : commutative_ring} (step : axis -> Z) (axes : list axis) (omega : list K) (f j : list Z) : K :=
  match axes, omega, f, j with
  | a :: axes, r :: omega, f0 :: f, j0 :: j => (root_power (n_samples a) r (f0 * (step a * j0)) * waves step axes omega f j)%K
  | _, _, _, _ => 1%K
  end.
Definition input_wave {K : commutative_ring} := waves (K := K) (fun _ => 1).
Definition output_wave {K : commutative_ring} := waves (K := K) stride.

(* How far from output 0 each tap reads: t d - p on each axis, with k - 1 - t for t where the kernel is reversed. *)
Definition offsets (axes : list axis) (t : list Z) : list Z := positions axes (map (fun _ => 0) axes) t.
(* Entry (o, c) of the block Lambda_f, for input channel number c of the group of output channel o: the sum over t of
   w_oct omega^(f (t d - p)). *)
Definition block {K : commutative_ring} (l : layer) (w : weights K) (omega : list K) (f : list Z) (o c : Z) : K :=
  sum (grid (kernel_shape l)) (fun t => w o c t * input_wave (axes l) omega f (offsets (axes l) t))%K.
(* The Fourier transform of an array: at frequency f, the sum over all places j of omega^(- f j) x_j. *)
Definition fourier {K : commutative_ring} (axes : list axis) (omega : list K) (x : list Z -> K) (f : list Z) : K :=
  sum (grid (map n_samples axes)) (fun j => input_wave axes omega (map Z.opp f) j * x j)%K.

Section Blocks.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma waves_next step a axes r (omega : list K) f0 f j0 j :
  waves step (a :: axes) (r :: omega) (f0 :: f) (j0 :: j)
  = (root_power (n_samples a) r (f0 * (step a * j0)) * waves step axes omega f j)%K.
Proof. reflexivity. Qed.
Lemma on_axes_next rule a axes i is t ts : on_axes rule (a :: axes) (i :: is) (t :: ts) = rule a i t :: on_axes rule axes is ts.
Proof. reflexivity. Qed.

(* One axis, by the lemma. *)
Lemma congruent_sample a i t : strided_ring a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  exists q, sample a i t = stride a * i + position a 0 t + q * n_samples a.
Proof.
  intros A Hi Ht. rewrite sample_unflipped, position_unflipped. apply true_tap_within in Ht. revert Ht.
  generalize (true_tap a t). destruct a as [m n k s d p b f g]. unfold strided_ring, unflipped in *. simpl in *.
  destruct A as (-> & S & -> & M & ->). intros u Hu.
  destruct (fourier_blocks_period m k s d p i u M S Hi Hu) as [E F]. apply Z.mod_divide in E; [|nia]. destruct E as [q E].
  exists (- q). lia.
Qed.

Lemma wave_sample a (r : K) f i t : strided_ring a -> root_of_unity (n_samples a) r ->
  0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  root_power (n_samples a) r (f * (1 * sample a i t))
  = (root_power (n_samples a) r (f * (stride a * i)) * root_power (n_samples a) r (f * (1 * position a 0 t)))%K.
Proof.
  intros A R Hi Ht. destruct (congruent_sample a i t A Hi Ht) as [q E].
  assert (N : 1 <= n_samples a) by (destruct A as (_ & S & _ & M & ->); nia).
  rewrite <- root_power_add by assumption. apply root_power_same. rewrite E.
  replace (f * (1 * (stride a * i + position a 0 t + q * n_samples a)))
    with (f * (stride a * i) + f * (1 * position a 0 t) + (f * q) * n_samples a) by ring.
  rewrite Z.mod_add by lia. reflexivity.
Qed.

(* Every axis. *)
Lemma wave_samples axes (omega : list K) f : Forall strided_ring axes ->
  Forall2 (fun a r => root_of_unity (n_samples a) r) axes omega -> length f = length axes ->
  forall i t, within (map n_outputs axes) i -> within (map n_taps axes) t ->
  input_wave axes omega f (samples axes i t) = (output_wave axes omega f i * input_wave axes omega f (offsets axes t))%K.
Proof.
  unfold input_wave, output_wave, samples, offsets, positions.
  intros H R. revert f. induction R as [|a r axes omega Ha R IH]; intros [|f0 f] Lf is ts Hi Ht; simpl in Lf; try discriminate.
  - simpl. ring.
  - inversion H; subst. inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst.
    rewrite map_cons, !on_axes_next, !waves_next. cbv beta. rewrite wave_sample by assumption. rewrite IH by (assumption || lia). ring.
Qed.

Lemma wave_opposite axes (omega : list K) f y : Forall (fun a => 1 <= n_samples a) axes ->
  Forall2 (fun a r => root_of_unity (n_samples a) r) axes omega -> length f = length axes ->
  (input_wave axes omega f y * input_wave axes omega (map Z.opp f) y)%K = 1%K.
Proof.
  unfold input_wave. intros H R. revert f y. induction R as [|a r axes omega Ha R IH]; intros [|f0 f] [|y0 y] Lf; simpl in Lf;
    try discriminate; try (simpl; ring); rewrite ?map_cons, ?waves_next; try (simpl; ring). cbv beta.
  inversion H as [|? ? N H']; subst.
  transitivity ((root_power (n_samples a) r (f0 * (1 * y0)) * root_power (n_samples a) r (- f0 * (1 * y0)))
    * (waves (fun _ => 1%Z) axes omega f y * waves (fun _ => 1%Z) axes omega (map Z.opp f) y))%K; [ring|].
  rewrite IH by (assumption || lia). replace (- f0 * (1 * y0)) with (- (f0 * (1 * y0))) by ring.
  rewrite root_power_opposite by assumption. ring.
Qed.

(* With stride 1, a tap reads every sample once: on one axis, and on all. *)
Lemma sum_axis a t (F : Z -> K) : strided_ring a -> stride a = 1 -> 0 <= t < n_taps a ->
  sum (range (n_outputs a)) (fun i => F (sample a i t)) = sum (range (n_samples a)) F.
Proof.
  intros A S Ht. pose proof A as (B & _ & _ & M & N). rewrite S, Z.mul_1_l in N.
  assert (In' : forall i, 0 <= sample a i t < n_samples a).
  { intro i. destruct (sample_range a i t) as [[_ E]|E]; [lia | congruence | exact E]. }
  symmetry. apply (sum_bijection (range (n_outputs a)) (range (n_samples a)) (fun i => sample a i t)
    (fun j => (j - position a 0 t) mod n_samples a)); try apply range_distinct.
  - intros i Hi. rewrite !in_range in *. split; [apply In'|]. destruct (congruent_sample a i t A Hi Ht) as [q E].
    rewrite E, S. replace (1 * i + position a 0 t + q * n_samples a - position a 0 t) with (i + q * n_samples a) by ring.
    rewrite Z.mod_add by lia. apply Z.mod_small. lia.
  - intros j Hj. rewrite !in_range in *. pose proof (Z.mod_pos_bound (j - position a 0 t) (n_samples a) ltac:(lia)) as R.
    split; [lia|]. destruct (congruent_sample a ((j - position a 0 t) mod n_samples a) t A ltac:(lia) Ht) as [q E].
    pose proof (In' ((j - position a 0 t) mod n_samples a)) as I.
    pose proof (Z_div_mod_eq_full (j - position a 0 t) (n_samples a)) as D. rewrite E, S in *.
    assert (Q : q = (j - position a 0 t) / n_samples a); [nia | rewrite Q; lia].
Qed.
Lemma sum_axes axes t (F : list Z -> K) : Forall strided_ring axes -> Forall (fun a => stride a = 1) axes ->
  within (map n_taps axes) t -> sum (grid (map n_outputs axes)) (fun i => F (samples axes i t)) = sum (grid (map n_samples axes)) F.
Proof.
  unfold samples. intros H S. revert t F. induction H as [|a axes A H IH]; intros ts F Ht;
    inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; [reflexivity|]. inversion S as [|? ? Sa S']; subst.
  rewrite !map_cons, !sum_grid.
  transitivity (sum (range (n_outputs a)) (fun i => sum (grid (map n_samples axes)) (fun j => F (sample a i t :: j)))).
  - apply sum_ext. intros i _. apply (IH S' ts' (fun j => F (sample a i t :: j)) Ht1).
  - apply (sum_axis a t (fun j0 => sum (grid (map n_samples axes)) (fun j => F (j0 :: j))) A Sa Ht0).
Qed.

(* A layer maps the Fourier vector v_f, with a factor u_h in each input channel h, to the vector u_f of the outputs with factors
   Lambda_f u, and u_f is the same for frequencies f and f + m q: so the s frequencies that differ by multiples of m go to one.
   The pairs (f, c) of frequency and channel are numbered without repetition by f C + c. With stride 1 the
   transform of the output at each frequency f is the block Lambda_f times that of the input, for every input. *)
Theorem fourier_blocks_theorem (l : layer) (w : weights K) (omega : list K) :
  Forall strided_ring (axes l) -> Forall2 (fun a r => root_of_unity (n_samples a) r) (axes l) omega ->
  (forall f (u : Z -> K) o i, length f = length (axes l) -> within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * input_wave (axes l) omega f j)%K o i
    = (sum (range (group_inputs l)) (fun c => block l w omega f o c * u (input_channel l o c)) * output_wave (axes l) omega f i)%K)
  /\ (forall f q i, length f = length (axes l) -> length q = length (axes l) ->
      output_wave (axes l) omega (pairwise Z.add f (pairwise (fun a q => n_outputs a * q) (axes l) q)) i
      = output_wave (axes l) omega f i)
  /\ (forall channels f c f' c', 0 <= c < channels -> 0 <= c' < channels ->
      f * channels + c = f' * channels + c' -> f = f' /\ c = c')
  /\ (Forall (fun a => stride a = 1) (axes l) -> forall (x : array K) f o, length f = length (axes l) ->
      fourier (axes l) omega (apply l w no_bias x o) f
      = sum (range (group_inputs l)) (fun c => block l w omega f o c * fourier (axes l) omega (x (input_channel l o c)) f)%K).
Proof.
  intros H R.
  assert (T : Forall (fun a => tile a = 1) (axes l)) by (eapply Forall_impl; [|exact H]; intros a A; apply A).
  assert (N : Forall (fun a => 1 <= n_samples a) (axes l)).
  { eapply Forall_impl; [|exact H]. intros a (_ & S & _ & M & ->). nia. }
  assert (Present : forall i t, present (samples (axes l) i t) = true).
  { intros i t. apply always_present. eapply Forall_impl; [|exact H]. intros a (B & S & _ & M & E). rewrite B. split; [nia|discriminate]. }
  split; [|split; [|split]].
  - intros f u o i Lf Hi. unfold apply, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
    apply sum_ext. intros c _. unfold block. rewrite <- !sum_scale_right. apply sum_ext. intros t Ht. apply in_grid in Ht.
    unfold read. rewrite Present, wave_samples, weight_index_untiled; try assumption; [ring| |].
    + apply (shape_length n_outputs), Hi.
    + apply (shape_length n_taps), Ht.
  - intros f q i. unfold output_wave. revert f q i. clear T N Present.
    induction R as [|a r axes omega Ra R IH]; intros [|f0 f] [|q0 q] is Lf Lq; simpl in Lf, Lq; try discriminate; [reflexivity|].
    inversion H as [|? ? A H']; subst. destruct is as [|i is]; [reflexivity|].
    change (pairwise Z.add (f0 :: f) (pairwise (fun a q => n_outputs a * q) (a :: axes) (q0 :: q)))
      with (f0 + n_outputs a * q0 :: pairwise Z.add f (pairwise (fun a q => n_outputs a * q) axes q)). rewrite !waves_next.
    rewrite (IH H' f q is) by lia. f_equal. apply root_power_same. destruct A as (_ & S & _ & M & E). rewrite E.
    pose proof (fourier_blocks_aliases (n_outputs a) (stride a) i f0 q0 M S) as D.
    apply Z.mod_divide in D; [|nia]. destruct D as [z D].
    replace ((f0 + n_outputs a * q0) * (stride a * i)) with (f0 * (stride a * i) + z * (stride a * n_outputs a)) by lia.
    apply Z.mod_add. nia.
  - intros channels f c f' c' Hc Hc' E. exact (fourier_blocks_sorted_by_frequency channels f c f' c' Hc Hc' E).
  - intros S x f o Lf. unfold fourier at 1.
    assert (Shape : map n_samples (axes l) = output_shape l).
    { unfold output_shape. clear - H S. induction H as [|a axes (_ & _ & _ & _ & E) H IH]; [reflexivity|].
      inversion S as [|? ? Sa S']; subst. simpl. rewrite IH by assumption. f_equal. rewrite E, Sa. lia. }
    rewrite Shape.
    assert (Same : forall g i, output_wave (axes l) omega g i = input_wave (axes l) omega g i).
    { intros g i. unfold output_wave, input_wave. clear - S. revert omega g i.
      induction S as [|a axes Sa S IH]; intros [|r omega] [|g0 g] [|i0 i]; try reflexivity.
      rewrite !waves_next, Sa, IH. reflexivity. }
    transitivity (sum (grid (output_shape l)) (fun i => sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
      w o c t * input_wave (axes l) omega f (offsets (axes l) t)
      * (input_wave (axes l) omega (map Z.opp f) (samples (axes l) i t) * x (input_channel l o c) (samples (axes l) i t))))))%K.
    + apply sum_ext. intros i Hi. apply in_grid in Hi. unfold apply, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale.
      apply sum_ext. intros c _. rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid in Ht.
      unfold read. rewrite Present. rewrite (wave_samples (axes l) omega (map Z.opp f)); try assumption; [|rewrite map_length; exact Lf].
      rewrite Same, weight_index_untiled; [|exact T|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Ht].
      pose proof (wave_opposite (axes l) omega f (offsets (axes l) t) N R Lf) as O.
      transitivity (input_wave (axes l) omega (map Z.opp f) i * (w o c t * x (input_channel l o c) (samples (axes l) i t))
        * (input_wave (axes l) omega f (offsets (axes l) t) * input_wave (axes l) omega (map Z.opp f) (offsets (axes l) t)))%K.
      * rewrite O. ring.
      * ring.
    + rewrite sum_swap. apply sum_ext. intros c _. rewrite sum_swap. unfold block. rewrite <- sum_scale_right.
      apply sum_ext. intros t Ht. apply in_grid in Ht. rewrite sum_scale. f_equal. unfold fourier.
      apply (sum_axes (axes l) t (fun j => input_wave (axes l) omega (map Z.opp f) j * x (input_channel l o c) j)%K H S Ht).
Qed.
End Blocks.
Print Assumptions fourier_blocks_theorem.
