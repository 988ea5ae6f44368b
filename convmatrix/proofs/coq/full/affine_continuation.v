(* Theorem affine-continuation: the antireflective boundary continues constants and ramps as they are. For all weights,
   channels, groups, tiles, strides, dilations, paddings and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Signed Lemmas_affine_continuation.
Import ListNotations.
Open Scope Z_scope.

Section Affine.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* A product over the axes of affine functions alpha + beta j of the place j on each axis, at any place. *)
Fixpoint affine (numbers : list (K * K)) (p : list Z) : K :=
  match numbers, p with
  | (alpha, beta) :: numbers, p0 :: p => ((alpha + beta * integer p0) * affine numbers p)%K
  | _, _ => 1%K
  end.
(* An axis of one sample has no slope. *)
Definition suits (n : Z) (number : K * K) : Prop := 2 <= n \/ (n = 1 /\ snd number = 0%K).

(* One axis: the terms of an affine function sum to its value at the position. *)
Lemma affine_axis n number x : suits n number ->
  sum (terms (signed antireflect) x n) (fun term => integer (snd term) * (fst number + snd number * integer (fst term)))%K
  = (fst number + snd number * integer x)%K.
Proof.
  intro S. destruct number as [alpha beta]. unfold suits in S. cbn [fst snd] in *.
  assert (C : integer (antireflect_factor_0 x n + antireflect_factor_1 x n + antireflect_factor_2 x n) = 1%K :> K).
  { rewrite affine_continuation_constants by lia. apply integer_1. }
  rewrite !integer_add in C.
  assert (R : (beta * (integer (antireflect_factor_0 x n) * integer (antireflect_sample_0 x n)
    + integer (antireflect_factor_1 x n) * integer (antireflect_sample_1 x n)
    + integer (antireflect_factor_2 x n) * integer (antireflect_sample_2 x n)) = beta * integer x)%K).
  { destruct S as [S|[_ ->]]; [|ring]. rewrite <- !integer_mul, <- !integer_add. do 2 f_equal.
    apply affine_continuation_ramps. exact S. }
  unfold sum, terms, read_terms. cbn [fold_right fst snd].
  transitivity (alpha * (integer (antireflect_factor_0 x n) + integer (antireflect_factor_1 x n)
    + integer (antireflect_factor_2 x n)) + beta * (integer (antireflect_factor_0 x n) * integer (antireflect_sample_0 x n)
    + integer (antireflect_factor_1 x n) * integer (antireflect_sample_1 x n)
    + integer (antireflect_factor_2 x n) * integer (antireflect_sample_2 x n)))%K; [ring|].
  rewrite C, R. ring.
Qed.

(* Every axis. *)
Lemma continued_affine sizes numbers : Forall2 suits sizes numbers -> forall (u : K) p, length p = length sizes ->
  continued sizes (map (fun _ => signed antireflect) sizes) (fun j => u * affine numbers j)%K p = (u * affine numbers p)%K.
Proof.
  intro H. induction H as [|n number sizes numbers S H IH]; intros u [|p0 p] L; try discriminate; [reflexivity|].
  injection L as L. cbn [map continued]. destruct number as [alpha beta].
  transitivity (sum (terms (signed antireflect) p0 n) (fun term =>
    integer (snd term) * (alpha + beta * integer (fst term)) * (u * affine numbers p)))%K.
  - apply sum_ext. intros term _.
    rewrite (continued_ext _ _ _ (fun j => (u * (alpha + beta * integer (fst term))) * affine numbers j)%K)
      by (intro j; simpl; ring).
    rewrite IH by assumption. ring.
  - rewrite sum_scale_right. pose proof (affine_axis n (alpha, beta) p0 S) as E. cbn [fst snd] in E. rewrite E.
    simpl. ring.
Qed.

(* A layer with the antireflective boundary on every axis maps an affine input, with a factor u_h in each channel h, to the
   sum of its values at the positions that the taps read, inside or outside: what the unbounded grid would give. And all
   samples that are read exist, and at a position inside only the sample there is read. *)
Theorem affine_continuation_theorem (l : layer) (w : weights K) (b u : Z -> K) (numbers : list (K * K)) :
  Forall2 suits (input_shape l) numbers ->
  (forall o i, within (output_shape l) i ->
    apply_continued l (map (fun _ => signed antireflect) (axes l)) w b (fun h j => u h * affine numbers j)%K o i
    = (b o + sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
        w o c (weight_index (axes l) i t) * (u (input_channel l o c) * affine numbers (positions (axes l) i t)))))%K)
  /\ (forall x n, 1 <= n -> Forall (fun term => 0 <= fst term < n) (read_terms antireflect x n)
      /\ (0 <= x < n -> exists s t, read_terms antireflect x n = [(x, 1); (s, 0); (t, 0)])).
Proof.
  intro H. split.
  - intros o i Hi. unfold apply_continued. f_equal. apply sum_ext. intros c _. apply sum_ext. intros t Ht. f_equal.
    apply in_grid, within_length in Ht. apply within_length in Hi.
    replace (map (fun _ : axis => signed antireflect) (axes l)) with (map (fun _ : Z => signed antireflect) (input_shape l))
      by (unfold input_shape; rewrite map_map; reflexivity).
    apply continued_affine; [exact H|]. unfold input_shape, output_shape, kernel_shape in *. rewrite map_length in *.
    apply on_axes_length; assumption.
  - intros x n N. destruct (affine_continuation_inside n x N) as (A & B & C & D). split.
    + repeat constructor; simpl; lia.
    + intro Hx. destruct (D Hx) as (E & F & G & I). cbv [read_terms]. rewrite E, F, G, I.
      eexists. eexists. reflexivity.
Qed.
End Affine.
Print Assumptions affine_continuation_theorem.
