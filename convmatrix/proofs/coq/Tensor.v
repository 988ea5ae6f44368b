(* The tensor T of a layer, y_i = sum over j and k of T_ijk x_j w_k: it depends on the geometry alone. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra.
Import ListNotations.
Open Scope Z_scope.

(* The kernels of a tiled axis lie one after the other: tile * k weights. *)
Definition weight_shape (l : layer) : list Z := map (fun a => tile a * n_taps a) (axes l).

(* Outputs and inputs (channel, place); weights (output channel, number of the input channel in its group, index). *)
Definition outputs (l : layer) : list (Z * list Z) := list_prod (range (out_channels l)) (grid (output_shape l)).
Definition inputs (l : layer) : list (Z * list Z) := list_prod (range (in_channels l)) (grid (input_shape l)).
Definition parameters (l : layer) : list (Z * (Z * list Z)) :=
  list_prod (range (out_channels l)) (list_prod (range (group_inputs l)) (grid (weight_shape l))).
Definition at_pair {K} (x : array K) (j : Z * list Z) : K := x (fst j) (snd j).
Definition at_parameter {K} (w : weights K) (k : Z * (Z * list Z)) : K := w (fst k) (fst (snd k)) (snd (snd k)).

Definition same_pair : forall i j : Z * list Z, {i = j} + {i <> j}.
Proof. decide equality; [apply same_place | apply Z.eq_dec]. Defined.
Definition same_parameter : forall k q : Z * (Z * list Z), {k = q} + {k <> q}.
Proof. decide equality; [apply same_pair | apply Z.eq_dec]. Defined.

(* T at output i, input j and weight k: the number of taps with which output i reads j and uses k. *)
Definition tensor {K : commutative_ring} (l : layer) (i j : Z * list Z) (k : Z * (Z * list Z)) : K :=
  if Z.eq_dec (fst i) (fst k) then if Z.eq_dec (input_channel l (fst i) (fst (snd k))) (fst j)
  then sum (grid (kernel_shape l)) (fun t =>
    if same_place (samples (axes l) (snd i) t) (snd j) then if same_place (weight_index (axes l) (snd i) t) (snd (snd k))
    then 1%K else 0%K else 0%K)
  else 0%K else 0%K.

Lemma weight_index_within l i t : proper l -> within (output_shape l) i -> within (kernel_shape l) t ->
  within (weight_shape l) (weight_index (axes l) i t).
Proof.
  intros (_ & P & _). unfold output_shape, kernel_shape, weight_shape, weight_index. revert i t.
  induction P as [|a axes Pa P IH]; intros is ts Hi Ht; inversion Hi as [|? i ? is' Hi0 Hi1];
    inversion Ht as [|? t ? ts' Ht0 Ht1]; subst; simpl; constructor.
  - destruct Pa as (_ & _ & _ & Hg). unfold weight. pose proof (Z.mod_pos_bound i (tile a) ltac:(lia)). nia.
  - apply IH; assumption.
Qed.

Section Tensor.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* A layer is the contraction of its tensor with its weights and its input, and the bias. *)
Theorem apply_tensor (l : layer) (w : weights K) b (x : array K) o i :
  proper l -> 0 <= o < out_channels l -> within (output_shape l) i ->
  apply l w b x o i = (b o + sum (inputs l) (fun j => sum (parameters l) (fun k =>
    tensor l (o, i) j k * at_pair x j * at_parameter w k)))%K.
Proof.
  intros P Ho Hi. unfold apply. f_equal.
  assert (S : Forall (fun a => 1 <= n_samples a) (axes l)).
  { destruct P as (_ & P & _). eapply Forall_impl; [|exact P]. intros a (N & _). exact N. }
  rewrite (sum_swap (inputs l) (parameters l)). unfold parameters, inputs. rewrite sum_pairs.
  rewrite (sum_single (range (out_channels l)) o); [|apply range_distinct|apply in_range; assumption|].
  2: { intros o' _ N. apply sum_zero. intros k _. apply sum_zero. intros j _. unfold tensor. simpl.
       destruct (Z.eq_dec o o'); [congruence|ring]. }
  rewrite sum_pairs. apply sum_ext. intros c Hc. apply in_range in Hc.
  pose proof (in_input_channels l o c P Ho Hc) as Hh.
  transitivity (sum (grid (weight_shape l)) (fun k => sum (grid (input_shape l)) (fun j => sum (grid (kernel_shape l)) (fun t =>
    (if same_place (samples (axes l) i t) j then x (input_channel l o c) j else 0)
    * (if same_place (weight_index (axes l) i t) k then w o c k else 0)))))%K.
  - transitivity (sum (grid (kernel_shape l)) (fun t => sum (grid (weight_shape l)) (fun k => sum (grid (input_shape l)) (fun j =>
      (if same_place (samples (axes l) i t) j then x (input_channel l o c) j else 0)
      * (if same_place (weight_index (axes l) i t) k then w o c k else 0)))))%K.
    + apply sum_ext. intros t Ht. apply in_grid in Ht.
      rewrite (sum_single _ (weight_index (axes l) i t)); [|apply grid_distinct|apply in_grid, weight_index_within; assumption|].
      * rewrite sum_scale_right, sum_read by assumption. destruct (same_place _ _); [ring|congruence].
      * intros k _ N. apply sum_zero. intros j _. destruct (same_place (weight_index _ _ _) k); [congruence|ring].
    + rewrite sum_swap. apply sum_ext. intros k _. apply sum_swap.
  - apply sum_ext. intros k _. rewrite sum_pairs.
    rewrite (sum_single _ (input_channel l o c)); [|apply range_distinct|apply in_range; assumption|].
    + apply sum_ext. intros j _. unfold tensor, at_pair, at_parameter. simpl.
      destruct (Z.eq_dec o o) as [_|N]; [|congruence]. destruct (Z.eq_dec _ _) as [_|N]; [|congruence].
      rewrite <- !sum_scale_right. apply sum_ext. intros t _.
      destruct (same_place _ j); destruct (same_place _ k); ring.
    + intros h _ N. apply sum_zero. intros j _. unfold tensor. simpl.
      destruct (Z.eq_dec o o) as [_|]; [|congruence]. destruct (Z.eq_dec _ h); [congruence|ring].
Qed.
End Tensor.
