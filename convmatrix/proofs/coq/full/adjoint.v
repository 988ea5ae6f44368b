(* Theorem adjoint: the transpose of a convolution is the convolution with the reversed kernel; that of a strided one puts
   zeros between the outputs first. For all weights, channels, groups and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Lemmas_adjoint.
Import ListNotations.
Open Scope Z_scope.

(* The axes of the theorem: one kernel for all outputs, and the zero boundary with any stride, or a ring with stride 1
   and as many outputs as samples. Sizes, kernel length and padding are any. *)
Definition adjoint_axis_of (a : axis) : Prop :=
  1 <= stride a /\ 1 <= dilation a /\ tile a = 1 /\ 1 <= n_outputs a
  /\ (axis_boundary a = zero \/ axis_boundary a = circular /\ stride a = 1 /\ n_outputs a = n_samples a).

(* The adjoint axis: outputs and samples exchanged, the kernel reversed, low padding d (k - 1) - p. With a stride s it
   reads the spread samples: s - 1 places between neighbours. *)
Definition adjoint_axis (a : axis) : axis :=
  Axis (n_samples a) ((n_outputs a - 1) * stride a + 1) (n_taps a) 1 (dilation a)
    (dilation a * (n_taps a - 1) - pad_low a) (axis_boundary a) (negb (flip a)) 1.

(* The adjoint layer: the same groups, input and output channels exchanged. *)
Definition adjoint (l : layer) : layer :=
  Layer (map adjoint_axis (axes l)) (groups l) (out_channels l) (in_channels l).

(* The adjoint's weight from channel o' of the group to channel h is the layer's weight from h to that channel, at the
   same tap (of the reversed kernel). *)
Definition adjoint_weights {K : Type} (l : layer) (w : weights K) : weights K := fun h o' t =>
  w (h / group_inputs l * group_outputs l + o') (h mod group_inputs l) t.

(* Place i of the outputs among the spread samples. *)
Definition spread_place (l : layer) : list Z -> list Z := each (map (fun a i => stride a * i) (axes l)).
(* Whether a place of the spread samples is that of an output, and of which. *)
Definition hit (l : layer) (x : list Z) : bool :=
  forallb (fun r => r =? 0) (pairwise (fun a x => x mod stride a) (axes l) x).
Definition gathered (l : layer) : list Z -> list Z := each (map (fun a x => x / stride a) (axes l)).
(* The outputs with zeros between them, at the places that are not multiples of the stride. *)
Definition spread {K : commutative_ring} (l : layer) (y : array K) : array K := fun o x =>
  if hit l x then y o (gathered l x) else 0%K.

(* One axis, by the lemmas. *)
Lemma adjoint_sample a i j t : adjoint_axis_of a -> 0 <= i < n_outputs a -> 0 <= j < n_samples a -> 0 <= t < n_taps a ->
  (sample a i t = j <-> sample (adjoint_axis a) j t = stride a * i).
Proof.
  destruct a as [m n k s d p b f g]. unfold adjoint_axis_of, adjoint_axis. simpl.
  intros (Hs & Hd & -> & _ & B) Hi Hj Ht.
  assert (L : forall t, 0 <= t < k -> sample (Axis m n k s d p b false 1) i t = j
    <-> sample (Axis n ((m - 1) * s + 1) k 1 d (d * (k - 1) - p) b true 1) j t = s * i).
  { intros u Hu. destruct B as [-> | (-> & -> & ->)].
    - apply adjoint_stride; lia.
    - rewrite Z.mul_1_l. replace ((n - 1) * 1 + 1) with n by lia. apply adjoint_circular_boundary; lia. }
  destruct f; simpl.
  - specialize (L (k - 1 - t) ltac:(lia)). unfold sample, position in *. simpl in *.
    replace (k - 1 - (k - 1 - t)) with t in L by lia. exact L.
  - apply L; assumption.
Qed.
(* Every axis. *)
Lemma adjoint_samples l : Forall adjoint_axis_of (axes l) ->
  forall i j t, within (output_shape l) i -> within (input_shape l) j -> within (kernel_shape l) t ->
  (samples (axes l) i t = j <-> samples (axes (adjoint l)) j t = spread_place l i).
Proof.
  destruct l as [axes g ci co]. unfold output_shape, input_shape, kernel_shape, spread_place, adjoint, samples. simpl.
  induction 1 as [|a axes Ha _ IH]; simpl; intros is js ts Hi Hj Ht.
  - inversion Hi; inversion Hj; inversion Ht; subst. simpl. tauto.
  - inversion Hi as [|? i ? is' Hi0 Hi1]; inversion Hj as [|? j ? js' Hj0 Hj1]; inversion Ht as [|? t ? ts' Ht0 Ht1]; subst.
    simpl. pose proof (adjoint_sample a i j t Ha Hi0 Hj0 Ht0) as H. specialize (IH is' js' ts' Hi1 Hj1 Ht1).
    split; intros E; injection E as E1 E2; f_equal; tauto.
Qed.

(* The spread samples that are outputs. *)
Lemma spread_place_within l i : Forall adjoint_axis_of (axes l) -> within (output_shape l) i ->
  within (input_shape (adjoint l)) (spread_place l i) /\ hit l (spread_place l i) = true
  /\ gathered l (spread_place l i) = i.
Proof.
  destruct l as [axes g ci co]. unfold output_shape, input_shape, spread_place, hit, gathered. simpl. intro H. revert i.
  induction H as [|a axes Ha _ IH]; simpl; intros is Hi; inversion Hi as [|? i ? is' Hi0 Hi1]; subst; simpl.
  - repeat constructor.
  - destruct (IH is' Hi1) as (I & B & G). destruct Ha as (Hs & _).
    rewrite (Z.mul_comm (stride a) i), Z.mod_mul, Z.div_mul, B, G by lia. repeat constructor; [nia | nia | exact I].
Qed.
Lemma gathered_within l x : Forall adjoint_axis_of (axes l) -> within (input_shape (adjoint l)) x -> hit l x = true ->
  within (output_shape l) (gathered l x) /\ spread_place l (gathered l x) = x.
Proof.
  destruct l as [axes g ci co]. unfold output_shape, input_shape, spread_place, hit, gathered. simpl. intro H. revert x.
  induction H as [|a axes Ha _ IH]; simpl; intros xs Hx; inversion Hx as [|? x ? xs' Hx0 Hx1]; subst; simpl.
  - intros _. repeat constructor.
  - intros B. apply andb_prop in B. destruct B as [B B']. apply Z.eqb_eq in B. destruct Ha as (Hs & _ & _ & Hm & _).
    destruct (IH xs' Hx1 B') as (I & G). simpl in Hx0. pose proof (Z_div_mod_eq_full x (stride a)) as D. rewrite B in D.
    split; [constructor; [nia | exact I] | rewrite G; f_equal; lia].
Qed.

Section Adjoint.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).
Variable (l : layer).
Hypothesis (P : proper l) (H : Forall adjoint_axis_of (axes l)).

Lemma adjoint_proper : proper (adjoint l).
Proof.
  destruct P as (G & _ & U & V). split; [exact G|]. split; [|split; assumption].
  simpl. apply Forall_map. eapply Forall_impl; [|exact H]. intros a (Hs & Hd & _ & Hm & _).
  unfold proper_axis, adjoint_axis; simpl. nia.
Qed.

(* The entry of the matrix at output i and input j is that of the adjoint layer at output j and spread place s i. *)
Theorem adjoint_entry (w : weights K) o i h j :
  0 <= o < out_channels l -> within (output_shape l) i -> 0 <= h < in_channels l -> within (input_shape l) j ->
  entry l w o i h j = entry (adjoint l) (adjoint_weights l w) h j o (spread_place l i).
Proof.
  intros Ho Hi Hh Hj. rewrite entry_by_group by assumption.
  rewrite (entry_by_group (adjoint l)) by (try apply adjoint_proper; assumption).
  change (group_outputs (adjoint l)) with (group_inputs l). change (group_inputs (adjoint l)) with (group_outputs l).
  destruct (Z.eq_dec (o / group_outputs l) (h / group_inputs l)) as [E|E];
    destruct (Z.eq_dec (h / group_inputs l) (o / group_outputs l)) as [F|F]; try congruence.
  replace (kernel_shape (adjoint l)) with (kernel_shape l) by (unfold kernel_shape; simpl; rewrite map_map; reflexivity).
  apply sum_ext. intros t Ht. apply in_grid in Ht. pose proof (adjoint_samples l H i j t Hi Hj Ht) as S.
  destruct (same_place _ _) as [A|A]; destruct (same_place _ _) as [B|B]; try tauto.
  unfold adjoint_weights. rewrite F, Z.mul_comm, <- Z_div_mod_eq_full.
  rewrite !weight_index_untiled; try reflexivity.
  - simpl. apply Forall_map, Forall_forall. reflexivity.
  - simpl. rewrite map_length. apply (shape_length n_samples), Hj.
  - simpl. rewrite map_length. apply (shape_length n_taps), Ht.
  - eapply Forall_impl; [|exact H]. intros a (_ & _ & T & _). exact T.
  - apply (shape_length n_outputs), Hi.
  - apply (shape_length n_taps), Ht.
Qed.

(* With stride 1 the adjoint layer's matrix is the transpose. *)
Lemma spread_place_stride_1 i : Forall (fun a => stride a = 1) (axes l) -> within (output_shape l) i -> spread_place l i = i.
Proof.
  clear. destruct l as [axes g ci co]. unfold output_shape, spread_place. simpl. intros S. revert i.
  induction S as [|a rest Ha _ IH]; simpl; intros is Hi; inversion Hi as [|? i ? is' Hi0 Hi1]; subst; [reflexivity|].
  rewrite (IH is' Hi1), Ha. f_equal. lia.
Qed.

(* A sum over the spread samples, which are zero at places that are not outputs, is a sum over the outputs. *)
Lemma sum_spread (f : list Z -> K) (y : array K) o :
  sum (grid (input_shape (adjoint l))) (fun x => f x * spread l y o x)%K
  = sum (grid (output_shape l)) (fun i => f (spread_place l i) * y o i)%K.
Proof.
  rewrite (sum_by_value same_place (grid (output_shape l)) (grid (input_shape (adjoint l))) (spread_place l)).
  - apply sum_ext. intros x Hx. apply in_grid in Hx. unfold spread. destruct (hit l x) eqn:B.
    + destruct (gathered_within l x H Hx B) as [G E]. rewrite (sum_single _ (gathered l x)).
      * rewrite E. destruct (same_place x x); [reflexivity|congruence].
      * apply grid_distinct.
      * apply in_grid, G.
      * intros i Hi N. apply in_grid in Hi. destruct (same_place _ _) as [<-|]; [|reflexivity].
        exfalso. apply N. symmetry. apply (spread_place_within l i H Hi).
    + rewrite sum_zero; [ring|]. intros i Hi. apply in_grid in Hi. destruct (same_place _ _) as [<-|]; [|reflexivity].
      destruct (spread_place_within l i H Hi) as (_ & C & _). congruence.
  - apply grid_distinct.
  - intros i Hi. apply in_grid in Hi. apply in_grid, spread_place_within; assumption.
Qed.

(* The adjoint layer of the spread outputs is the product with the transposed matrix. *)
Theorem adjoint_product (w : weights K) (y : array K) h j : 0 <= h < in_channels l -> within (input_shape l) j ->
  apply (adjoint l) (adjoint_weights l w) no_bias (spread l y) h j
  = sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => entry l w o i h j * y o i))%K.
Proof.
  intros Hh Hj. rewrite apply_entry; [|apply adjoint_proper|exact Hh|].
  2: { unfold output_shape. simpl. rewrite map_map. exact Hj. }
  unfold no_bias. simpl in_channels. rewrite (Radd_0_l (ring_laws K)). apply sum_ext. intros o Ho. apply in_range in Ho.
  rewrite sum_spread. apply sum_ext. intros i Hi. apply in_grid in Hi. rewrite adjoint_entry by assumption. reflexivity.
Qed.

(* The inner product of A x with y is that of x with the adjoint of y. *)
Theorem adjoint_inner_product (w : weights K) (x y : array K) :
  sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => apply l w no_bias x o i * y o i))%K
  = sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j =>
      x h j * apply (adjoint l) (adjoint_weights l w) no_bias (spread l y) h j))%K.
Proof.
  transitivity (sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i =>
    sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j => entry l w o i h j * x h j * y o i)))))%K.
  - apply sum_ext. intros o Ho. apply in_range in Ho. apply sum_ext. intros i Hi. apply in_grid in Hi.
    rewrite apply_entry by assumption. unfold no_bias. rewrite (Radd_0_l (ring_laws K)), <- sum_scale_right.
    apply sum_ext. intros h _. rewrite <- sum_scale_right. reflexivity.
  - rewrite sum_swap_4. apply sum_ext. intros h Hh. apply in_range in Hh. apply sum_ext. intros j Hj. apply in_grid in Hj.
    rewrite adjoint_product by assumption. rewrite <- sum_scale. apply sum_ext. intros o _.
    rewrite <- sum_scale. apply sum_ext. intros i _. ring.
Qed.
End Adjoint.

(* A^T is the matrix of the adjoint layer where all strides are 1. In general A^T y is the adjoint layer's output for the
   spread y, which is zero at the places between; so <A x, y> = <x, A^T y> for all x and y. Where a conjugation is given
   (any additive map of K), the conjugate weights give the conjugate transpose. *)
Theorem adjoint_theorem (K : commutative_ring) (l : layer) (w : weights K) :
  proper l -> Forall adjoint_axis_of (axes l) ->
  (Forall (fun a => stride a = 1) (axes l) ->
    forall o i h j, 0 <= o < out_channels l -> within (output_shape l) i ->
      0 <= h < in_channels l -> within (input_shape l) j ->
      entry (adjoint l) (adjoint_weights l w) h j o i = entry l w o i h j)
  /\ (forall (y : array K) h j, 0 <= h < in_channels l -> within (input_shape l) j ->
      apply (adjoint l) (adjoint_weights l w) no_bias (spread l y) h j
      = sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => entry l w o i h j * y o i)))%K
  /\ (forall x y : array K,
      sum (range (out_channels l)) (fun o => sum (grid (output_shape l)) (fun i => apply l w no_bias x o i * y o i))
      = sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j =>
          x h j * apply (adjoint l) (adjoint_weights l w) no_bias (spread l y) h j)))%K
  /\ (forall conjugate : K -> K, conjugate 0%K = 0%K ->
      (forall r s, conjugate (r + s)%K = (conjugate r + conjugate s)%K) ->
      forall o i h j, 0 <= o < out_channels l -> within (output_shape l) i ->
      0 <= h < in_channels l -> within (input_shape l) j ->
      entry (adjoint l) (fun h c t => conjugate (adjoint_weights l w h c t)) h j o (spread_place l i)
      = conjugate (entry l w o i h j)).
Proof.
  intros P H. split; [|split; [|split]].
  - intros S o i h j Ho Hi Hh Hj. rewrite (adjoint_entry l P H w o i h j Ho Hi Hh Hj).
    rewrite spread_place_stride_1 by assumption. reflexivity.
  - intros. apply adjoint_product; assumption.
  - intros. apply adjoint_inner_product; assumption.
  - intros conjugate C0 C o i h j Ho Hi Hh Hj.
    transitivity (entry l (fun o c t => conjugate (w o c t)) o i h j).
    + symmetry. exact (adjoint_entry l P H (fun o c t => conjugate (w o c t)) o i h j Ho Hi Hh Hj).
    + unfold entry. rewrite (sum_additive conjugate C0 C). apply sum_ext. intros c _.
      rewrite (sum_additive conjugate C0 C). apply sum_ext. intros t _.
      destruct (Z.eq_dec _ _); [destruct (same_place _ _)|]; congruence.
Qed.
Print Assumptions adjoint_theorem.
