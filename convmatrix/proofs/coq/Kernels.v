(* Layers of one channel, given by their axes and one kernel, and the convolution of kernels. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra.
Import ListNotations.
Open Scope Z_scope.

(* A layer with one input and one output channel. *)
Definition single (axes : list axis) : layer := Layer axes 1 1 1.

(* The output of such a layer with the kernel w. *)
Definition convolve {K : commutative_ring} (axes : list axis) (w x : list Z -> K) : list Z -> K :=
  apply (single axes) (fun _ _ => w) no_bias (fun _ => x) 0.

(* The convolution of two kernels: at tap y the sum of w_t v_u over all t and u with t + u = y, on every axis. *)
Definition kernel_product {K : commutative_ring} (sizes sizes' : list Z) (w v : list Z -> K) : list Z -> K := fun y =>
  sum (grid sizes) (fun t => sum (grid sizes') (fun u =>
    if same_place (pairwise Z.add t u) y then (w t * v u)%K else 0%K)).

Section Kernels.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma convolve_sum axes (w x : list Z -> K) i : Forall (fun a => tile a = 1) axes -> length i = length axes ->
  convolve axes w x i = sum (grid (map n_taps axes)) (fun t => w t * read x (samples axes i t))%K.
Proof.
  intros U Li. unfold convolve, apply, no_bias. change (group_inputs (single axes)) with 1. simpl.
  match goal with |- (0 + (?s + 0))%K = _ => transitivity s; [ring|] end.
  apply sum_ext. intros t Ht. apply in_grid, (shape_length n_taps) in Ht.
  rewrite weight_index_untiled by assumption. reflexivity.
Qed.

(* Where tap u of B, read from where tap t of A reads, is tap t + u of C, the layers A and B compose to C with the
   convolution of their kernels. *)
Lemma product_sum (sizes sizes' sizes'' : list Z) (w v : list Z -> K) (f : list Z -> K) :
  (forall t u, within sizes t -> within sizes' u -> within sizes'' (pairwise Z.add t u)) ->
  sum (grid sizes'') (fun y => kernel_product sizes sizes' w v y * f y)%K
  = sum (grid sizes) (fun t => sum (grid sizes') (fun u => w t * v u * f (pairwise Z.add t u)))%K.
Proof.
  intro H. unfold kernel_product.
  transitivity (sum (grid sizes'') (fun y => sum (list_prod (grid sizes) (grid sizes')) (fun tu =>
    if same_place (pairwise Z.add (fst tu) (snd tu)) y then w (fst tu) * v (snd tu) * f (pairwise Z.add (fst tu) (snd tu)) else 0)))%K.
  - apply sum_ext. intros y _. rewrite sum_pairs, <- sum_scale_right. apply sum_ext. intros t _.
    rewrite <- sum_scale_right. apply sum_ext. intros u _. simpl. destruct (same_place _ _) as [E|]; [rewrite E|]; ring.
  - rewrite <- (sum_by_value same_place (list_prod (grid sizes) (grid sizes')) (grid sizes'')
      (fun tu => pairwise Z.add (fst tu) (snd tu)) (fun tu => w (fst tu) * v (snd tu) * f (pairwise Z.add (fst tu) (snd tu)))%K).
    + rewrite sum_pairs. reflexivity.
    + apply grid_distinct.
    + intros [t u] I. apply in_prod_iff in I. destruct I as [Ht Hu]. apply in_grid in Ht, Hu. apply in_grid, H; assumption.
Qed.
End Kernels.
