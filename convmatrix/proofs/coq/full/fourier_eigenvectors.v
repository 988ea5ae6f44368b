(* Theorem fourier-eigenvectors: the Fourier vectors are eigenvectors of every circular convolution, one block of channels
   per frequency. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Roots Lemmas_fourier_eigenvectors.
Import ListNotations.
Open Scope Z_scope.

(* A ring with stride 1, as many outputs as samples, and one kernel for all outputs. *)
Definition ring_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ stride a = 1 /\ 1 <= dilation a /\ tile a = 1 /\ 1 <= n_samples a /\ n_outputs a = n_samples a.

(* The Fourier vector v_f(j) = product over the axes of omega^(f j), with a root of unity omega, omega^n = 1, and an integer
   frequency f per axis. *)
Fixpoint wave {K : commutative_ring} (axes : list axis) (omega : list K) (f j : list Z) : K :=
  match axes, omega, f, j with
  | a :: axes, r :: omega, f0 :: f, j0 :: j => (root_power (n_samples a) r (f0 * j0) * wave axes omega f j)%K
  | _, _, _, _ => 1%K
  end.

(* How far from output 0 each tap reads: t d - p on each axis, with k - 1 - t for t where the kernel is reversed. *)
Definition offsets (axes : list axis) (t : list Z) : list Z := positions axes (map (fun _ => 0) axes) t.

(* The kernel's Fourier transform, for output channel o and input channel number c of its group:
   lambda_f = sum over t of w_t omega^(f (t d - p)). *)
Definition transform {K : commutative_ring} (l : layer) (w : weights K) (omega : list K) (f : list Z) (o c : Z) : K :=
  sum (grid (kernel_shape l)) (fun t => w o c t * wave (axes l) omega f (offsets (axes l) t))%K.

Section Fourier.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* One axis, by the lemma: what is read at a tap is the wave at the output times that at the offset of the tap. *)
Lemma wave_sample a (r : K) f i t : ring_axis a -> root_of_unity (n_samples a) r ->
  0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  root_power (n_samples a) r (f * sample a i t)
  = (root_power (n_samples a) r (f * i) * root_power (n_samples a) r (f * position a 0 t))%K.
Proof.
  destruct a as [m n k s d p b fl g]. unfold ring_axis. simpl. intros (-> & -> & Hd & -> & Hn & ->) R Hi Ht.
  rewrite <- root_power_add by assumption. apply root_power_same.
  set (u := if fl then k - 1 - t else t).
  assert (Hu : 0 <= u < k) by (unfold u; destruct fl; lia).
  pose proof (fourier_eigenvectors_period n k d p i u ltac:(lia) ltac:(lia) ltac:(lia) ltac:(lia)) as E.
  replace (sample (Axis n n k 1 d p circular fl 1) i t) with (sample (Axis n n k 1 d p circular false 1) i u)
    by (unfold u; destruct fl; reflexivity).
  replace (position (Axis n n k 1 d p circular fl 1) 0 t) with (position (Axis n n k 1 d p circular false 1) i u - i)
    by (unfold u, position, tap_position; destruct fl; simpl; lia).
  revert E. generalize (position (Axis n n k 1 d p circular false 1) i u) (sample (Axis n n k 1 d p circular false 1) i u).
  intros x y E. apply Z.mod_divide in E; [|lia]. destruct E as [q E].
  replace (f * i + f * (x - i)) with (f * y + (f * q) * n) by nia. rewrite Z.mod_add by lia. reflexivity.
Qed.

(* Every axis. *)
Lemma wave_samples axes (omega : list K) f : Forall ring_axis axes ->
  Forall2 (fun a r => root_of_unity (n_samples a) r) axes omega -> length f = length axes ->
  forall i t, within (map n_outputs axes) i -> within (map n_taps axes) t ->
  wave axes omega f (samples axes i t) = (wave axes omega f i * wave axes omega f (offsets axes t))%K.
Proof.
  intros H R. revert f. induction R as [|a r axes omega Ha R IH]; intros [|f0 f] Lf is ts Hi Ht; simpl in *; try discriminate.
  - ring.
  - inversion H; subst. inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst. simpl.
    rewrite wave_sample by assumption. unfold samples, offsets, positions in IH.
    rewrite IH by (assumption || lia). ring.
Qed.

(* On rings, a layer maps the Fourier vector of frequency f, with a factor u_h in each channel h, to the same vector with
   factors lambda_f u: the block lambda_f has one entry per output channel and input channel of its group. With one channel
   v_f is an eigenvector, for the eigenvalue lambda_f. *)
Theorem fourier_eigenvectors_theorem (l : layer) (w : weights K) (omega : list K) (f : list Z) :
  Forall ring_axis (axes l) ->
  Forall2 (fun a r => root_of_unity (n_samples a) r) (axes l) omega -> length f = length (axes l) ->
  (forall (u : Z -> K) o i, within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * wave (axes l) omega f j)%K o i
    = (sum (range (group_inputs l)) (fun c => transform l w omega f o c * u (input_channel l o c))
       * wave (axes l) omega f i)%K)
  /\ (groups l = 1 -> in_channels l = 1 -> forall i, within (output_shape l) i ->
      apply l w no_bias (fun _ j => wave (axes l) omega f j) 0 i = (transform l w omega f 0 0 * wave (axes l) omega f i)%K).
Proof.
  intros H R Lf.
  assert (M : forall (u : Z -> K) o i, within (output_shape l) i ->
    apply l w no_bias (fun h j => u h * wave (axes l) omega f j)%K o i
    = (sum (range (group_inputs l)) (fun c => transform l w omega f o c * u (input_channel l o c))
       * wave (axes l) omega f i)%K).
  { intros u o i Hi. unfold apply, no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
    apply sum_ext. intros c _. unfold transform. rewrite <- !sum_scale_right. apply sum_ext. intros t Ht. apply in_grid in Ht.
    unfold read. rewrite always_present, wave_samples, weight_index_untiled; try assumption; [ring | | | |].
    - eapply Forall_impl; [|exact H]. intros a A. apply A.
    - apply (shape_length n_outputs), Hi.
    - apply (shape_length n_taps), Ht.
    - eapply Forall_impl; [|exact H]. intros a (B & _ & _ & _ & N & _). rewrite B. split; [exact N | discriminate]. }
  split; [exact M|]. intros G C i Hi. specialize (M (fun _ => 1%K) 0 i Hi). unfold group_inputs in M. rewrite G, C in M.
  simpl in M. rewrite <- (Rmul_1_l (ring_laws K) (transform l w omega f 0 0)).
  transitivity (apply l w no_bias (fun _ j => 1 * wave (axes l) omega f j)%K 0 i).
  - unfold apply. f_equal. apply sum_ext. intros c _. apply sum_ext. intros t _. f_equal. unfold read.
    destruct (present _); ring.
  - rewrite M. ring.
Qed.
End Fourier.
Print Assumptions fourier_eigenvectors_theorem.
