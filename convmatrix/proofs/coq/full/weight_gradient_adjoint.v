(* Theorem weight-gradient-adjoint: the gradient in the weights is the adjoint of the map from the weights to the output. For
   all weights, channels, groups, tiles, boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Tensor Lemmas_weight_gradient_adjoint.
Import ListNotations.
Open Scope Z_scope.

(* The Jacobian J(x) of the output in the weights, in the row of output i and the column of weight k: the sum of the samples
   that output i reads at the taps with this weight (im2col). *)
Definition jacobian {K : commutative_ring} (l : layer) (x : array K) (i : Z * list Z) (k : Z * (Z * list Z)) : K :=
  if Z.eq_dec (fst i) (fst k) then sum (grid (kernel_shape l)) (fun t =>
    if same_place (weight_index (axes l) (snd i) t) (snd (snd k))
    then read (x (input_channel l (fst i) (fst (snd k)))) (samples (axes l) (snd i) t) else 0%K)
  else 0%K.

Section Gradient.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* J(x) is the contraction of the tensor with x. *)
Lemma jacobian_tensor (l : layer) (x : array K) o i k : proper l -> 0 <= o < out_channels l -> within (output_shape l) i ->
  0 <= fst (snd k) < group_inputs l ->
  jacobian l x (o, i) k = sum (inputs l) (fun j => tensor l (o, i) j k * at_pair x j)%K.
Proof.
  intros P Ho Hi Hc. destruct k as (o' & c & k). simpl in Hc. unfold jacobian, tensor, inputs. simpl. rewrite sum_pairs.
  destruct (Z.eq_dec o o') as [_|N]; [|symmetry; apply sum_zero; intros h _; apply sum_zero; intros j _; ring].
  pose proof (in_input_channels l o c P Ho Hc) as Hh.
  rewrite (sum_single _ (input_channel l o c)); [|apply range_distinct|apply in_range; assumption|].
  2: { intros h _ N. apply sum_zero. intros j _. destruct (Z.eq_dec _ _); [simpl in *; congruence|ring]. }
  transitivity (sum (grid (kernel_shape l)) (fun t => sum (grid (input_shape l)) (fun j =>
    (if same_place (samples (axes l) i t) j then x (input_channel l o c) j else 0)
    * (if same_place (weight_index (axes l) i t) k then 1 else 0))))%K.
  - apply sum_ext. intros t Ht. apply in_grid in Ht. rewrite sum_scale_right, sum_read; try assumption.
    + destruct (same_place _ k); ring.
    + destruct P as (_ & P & _). eapply Forall_impl; [|exact P]. intros a (N & _). exact N.
  - rewrite sum_swap. apply sum_ext. intros j _. unfold at_pair. simpl.
    destruct (Z.eq_dec _ _) as [_|N]; [|congruence]. rewrite <- sum_scale_right. apply sum_ext. intros t _.
    destruct (same_place _ j); destruct (same_place _ k); ring.
Qed.

(* For fixed x the output is J(x) w, and b: linear in w. For all g, x and w, <g, A(w) x> = <w, J(x)^T g>, where component k of
   J(x)^T g is the sum over the outputs of J(x)_ik g_i. J(x) has a block for each output channel: it is zero between a weight
   and the outputs of other channels. With one kernel for all outputs it has one sample at each tap (im2col);
   and in one group of channels, the same block for each output channel. *)
Theorem weight_gradient_adjoint_theorem (l : layer) (x : array K) : proper l ->
  (forall (w : weights K) b o i, 0 <= o < out_channels l -> within (output_shape l) i ->
    apply l w b x o i = b o + sum (parameters l) (fun k => jacobian l x (o, i) k * at_parameter w k))%K
  /\ (forall (g : array K) (w : weights K),
      sum (outputs l) (fun i => at_pair g i * apply l w no_bias x (fst i) (snd i))
      = sum (parameters l) (fun k => at_parameter w k * sum (outputs l) (fun i => jacobian l x i k * at_pair g i)))%K
  /\ (forall i k, fst i <> fst k -> jacobian l x i k = 0%K)
  /\ (Forall (fun a => tile a = 1) (axes l) -> forall o c i t, within (output_shape l) i -> within (kernel_shape l) t ->
      jacobian l x (o, i) (o, (c, t)) = read (x (input_channel l o c)) (samples (axes l) i t))
  /\ (groups l = 1 -> Forall (fun a => tile a = 1) (axes l) -> forall o o' c i t, 0 <= o < out_channels l ->
      0 <= o' < out_channels l -> within (output_shape l) i -> within (kernel_shape l) t ->
      jacobian l x (o, i) (o, (c, t)) = jacobian l x (o', i) (o', (c, t))).
Proof.
  intro P.
  assert (A : forall (w : weights K) b o i, 0 <= o < out_channels l -> within (output_shape l) i ->
    apply l w b x o i = (b o + sum (parameters l) (fun k => jacobian l x (o, i) k * at_parameter w k))%K).
  { intros w b o i Ho Hi. rewrite apply_tensor by assumption. f_equal. rewrite sum_swap. apply sum_ext. intros k Hk.
    destruct k as (o' & c & k). unfold parameters in Hk. rewrite !in_prod_iff in Hk. destruct Hk as (_ & Hc & _).
    apply in_range in Hc. rewrite jacobian_tensor by assumption. rewrite <- sum_scale_right. reflexivity. }
  assert (B : Forall (fun a => tile a = 1) (axes l) -> forall o c i t, within (output_shape l) i -> within (kernel_shape l) t ->
    jacobian l x (o, i) (o, (c, t)) = read (x (input_channel l o c)) (samples (axes l) i t)).
  { intros U o c i t Hi Ht. unfold jacobian. simpl. destruct (Z.eq_dec o o) as [_|]; [|congruence].
    rewrite (sum_single _ t); [|apply grid_distinct|apply in_grid; assumption|].
    + rewrite weight_index_untiled; [|exact U|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Ht].
      destruct (same_place t t); congruence.
    + intros u Hu N. apply in_grid in Hu.
      rewrite weight_index_untiled; [|exact U|apply (shape_length n_outputs), Hi|apply (shape_length n_taps), Hu].
      destruct (same_place u t); [congruence|reflexivity]. }
  split; [exact A|]. split; [|split; [|split; [exact B|]]].
  - intros g w. transitivity (sum (outputs l) (fun i => sum (parameters l) (fun k =>
      at_parameter w k * (jacobian l x i k * at_pair g i))))%K.
    + apply sum_ext. intros [o i] Hi. unfold outputs in Hi. apply in_prod_iff in Hi. destruct Hi as [Ho Hi].
      apply in_range in Ho. apply in_grid in Hi. simpl. rewrite A by assumption. unfold no_bias.
      rewrite (Radd_0_l (ring_laws K)), <- sum_scale. apply sum_ext. intros k _. ring.
    + rewrite sum_swap. apply sum_ext. intros k _. apply sum_scale.
  - intros i k N. unfold jacobian. destruct (Z.eq_dec _ _); [contradiction|reflexivity].
  - intros G U o o' c i t Ho Ho' Hi Ht. rewrite !B by assumption. f_equal. f_equal.
    unfold input_channel, group_outputs. rewrite G, Z.div_1_r, !Z.div_small by assumption. reflexivity.
Qed.
End Gradient.
Print Assumptions weight_gradient_adjoint_theorem.
