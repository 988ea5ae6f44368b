(* Theorem strided-merge: two valid convolutions, one after the other, are one valid convolution with the product of the strides
   and the second kernel, spread by the first stride, convolved with the first one. For all weights, channels and any number of
   axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Kernels Lemmas_strided_merge.
Import ListNotations.
Open Scope Z_scope.

(* On each axis: n samples; the first layer with k taps, stride s and dilation d, which has between outputs; the second one with l
   taps, stride z and dilation e, which has m. *)
Record sizes := Sizes { n : Z; k : Z; s : Z; d : Z; between : Z; l : Z; z : Z; e : Z; m : Z }.
(* The windows of all outputs lie inside. *)
Definition valid (a : sizes) : Prop := 1 <= s a /\ 1 <= z a /\ 1 <= d a /\ 1 <= e a
  /\ (m a - 1) * z a + e a * (l a - 1) < between a /\ (between a - 1) * s a + d a * (k a - 1) < n a.
Definition first (a : sizes) : axis := Axis (between a) (n a) (k a) (s a) (d a) 0 zero false 1.
Definition second (a : sizes) : axis := Axis (m a) (between a) (l a) (z a) (e a) 0 zero false 1.
(* The merged axis has s e (l - 1) + d (k - 1) + 1 taps and the stride s z. *)
Definition merged (a : sizes) : axis :=
  Axis (m a) (n a) (s a * e a * (l a - 1) + d a * (k a - 1) + 1) (s a * z a) 1 0 zero false 1.
(* Taps t and u together: s e u + d t, on each axis. *)
Fixpoint merged_tap (all : list sizes) (t u : list Z) : list Z :=
  match all, t, u with
  | a :: all, t0 :: t, u0 :: u => s a * e a * u0 + d a * t0 :: merged_tap all t u
  | _, _, _ => []
  end.
(* From input channel c to output channel o, at tap y: the sum over the channels h between, and over all t and u with
   s e u + d t = y, of w_hc at t times v_oh at u. *)
Definition merged_weights {K : commutative_ring} (channels : Z) (all : list sizes) (w v : weights K) : weights K := fun o c y =>
  sum (range channels) (fun h => mixed_product (merged_tap all) (map k all) (map l all) (w h c) (v o h) y).

(* Every axis, by the lemmas. *)
Lemma merged_samples all i t u : Forall valid all -> within (map n_outputs (map second all)) i ->
  within (map k all) t -> within (map l all) u ->
  within (map n_taps (map merged all)) (merged_tap all t u)
  /\ present (samples (map second all) i u) = true
  /\ samples (map merged all) i (merged_tap all t u) = samples (map first all) (samples (map second all) i u) t.
Proof.
  unfold samples. intro H. revert i t u. induction H as [|a all Ha _ IH]; intros is ts us Hi Ht Hu;
    inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; inversion Hu as [|? u ? us' Hu0 Hu1]; subst; simpl.
  - repeat split. constructor.
  - destruct (IH is' ts' us' Hi1 Ht1 Hu1) as (W & P & E). destruct Ha as (S & Z & D & F & M & B). simpl in Hi0.
    destruct (strided_merge_between (m a) (l a) (z a) (e a) (between a) i u Z F Hi0 Hu0 M) as [R Q].
    destruct (strided_merge_merged (m a) (n a) (k a) (l a) (s a) (z a) (d a) (e a) i t u (between a) S D F Ht0 Hu0) as [T G].
    rewrite P, E. split; [constructor; assumption|]. split.
    + rewrite Bool.andb_true_r. apply Z.leb_le. apply R.
    + f_equal. unfold second, first, merged. rewrite Q. symmetry. exact G.
Qed.

Section Merge.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* Two valid layers, with kernels w and then v and h channels between, are the valid layer with the merged kernel. If
   each has all outputs whose windows lie inside, so has the merged one. *)
Theorem strided_merge_theorem (all : list sizes) (ci h co : Z) (w v : weights K) (x : array K) : Forall valid all ->
  (forall o i, 0 <= o < co -> within (map n_outputs (map second all)) i ->
    apply (Layer (map second all) 1 h co) v no_bias (apply (Layer (map first all) 1 ci h) w no_bias x) o i
    = apply (Layer (map merged all) 1 ci co) (merged_weights h all w v) no_bias x o i)
  /\ Forall (fun a =>
      forward_outputs (forward_outputs (n a) (d a * (k a - 1) + 1) (s a) 0 0) (e a * (l a - 1) + 1) (z a) 0 0
      = forward_outputs (n a) (n_taps (merged a)) (stride (merged a)) 0 0) all.
Proof.
  intro H. split.
  2: { eapply Forall_impl; [|exact H]. intros a (S & Z & _). apply strided_merge_outputs; assumption. }
  intros o i Ho Hi.
  assert (U : forall change : sizes -> axis, (forall a, tile (change a) = 1) -> Forall (fun a => tile a = 1) (map change all)).
  { intros change E. apply Forall_map, Forall_forall. auto. }
  pose proof (shape_length n_outputs _ _ Hi) as Li. rewrite map_length in Li.
  rewrite apply_one_group; [|apply U; reflexivity|exact Ho|rewrite map_length; exact Li].
  rewrite (apply_one_group (map merged all)); [|apply U; reflexivity|exact Ho|rewrite map_length; exact Li].
  assert (T1 : map n_taps (map first all) = map k all) by apply map_map.
  assert (T2 : map n_taps (map second all) = map l all) by apply map_map. rewrite T2.
  transitivity (sum (range h) (fun c' => sum (range ci) (fun c => sum (grid (map k all)) (fun t => sum (grid (map l all)) (fun u =>
    w c' c t * v o c' u * read (x c) (samples (map merged all) i (merged_tap all t u)))))))%K.
  - apply sum_ext. intros c' Hc'. apply in_range in Hc'.
    transitivity (sum (grid (map l all)) (fun u => sum (range ci) (fun c => sum (grid (map k all)) (fun t =>
      w c' c t * v o c' u * read (x c) (samples (map merged all) i (merged_tap all t u))))))%K.
    + apply sum_ext. intros u Hu. apply in_grid in Hu.
      destruct (within_some (map k all)) as [[t0 Ht0]|N].
      * destruct (merged_samples all i t0 u H Hi Ht0 Hu) as (_ & P & _). unfold read at 1. rewrite P.
        rewrite apply_one_group; [|apply U; reflexivity|exact Hc'|].
        -- rewrite T1, <- sum_scale. apply sum_ext. intros c _. rewrite <- sum_scale. apply sum_ext. intros t Ht. apply in_grid in Ht.
           destruct (merged_samples all i t u H Hi Ht Hu) as (_ & _ & E). rewrite E. ring.
        -- unfold samples. rewrite on_axes_length; rewrite ?map_length; auto. apply (shape_length l) in Hu. exact Hu.
      * rewrite (sum_zero (range ci)).
        -- unfold read. destruct (present _); [|ring]. rewrite apply_one_group; [|apply U; reflexivity|exact Hc'|].
           ++ rewrite T1, sum_zero; [ring|]. intros c _. apply sum_zero. intros t Ht. apply in_grid in Ht. exfalso. exact (N t Ht).
           ++ unfold samples. rewrite on_axes_length; rewrite ?map_length; auto. apply (shape_length l) in Hu. exact Hu.
        -- intros c _. apply sum_zero. intros t Ht. apply in_grid in Ht. exfalso. exact (N t Ht).
    + rewrite sum_swap. apply sum_ext. intros c _. apply sum_swap.
  - rewrite sum_swap. apply sum_ext. intros c _. unfold merged_weights.
    transitivity (sum (range h) (fun c' => sum (grid (map n_taps (map merged all))) (fun y =>
      mixed_product (merged_tap all) (map k all) (map l all) (w c' c) (v o c') y * read (x c) (samples (map merged all) i y))))%K.
    + apply sum_ext. intros c' _. rewrite mixed_sum; [reflexivity|].
      intros t u Ht Hu. apply (merged_samples all i t u H Hi Ht Hu).
    + rewrite sum_swap. apply sum_ext. intros y _. apply sum_scale_right.
Qed.
End Merge.
Print Assumptions strided_merge_theorem.
