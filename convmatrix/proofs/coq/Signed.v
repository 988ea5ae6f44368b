(* Boundaries that read samples with coefficients: the terms at a position, and layers whose axes have any boundaries. *)
Require Import ZArith List Lia Bool Ring InitialRing.
From Convmatrix Require Import Sums Rule Layers.
Import ListNotations.
Open Scope Z_scope.

(* How an axis continues beyond its ends: by a plain boundary, which reads a sample or none, or by a signed one. *)
Inductive continuation := plain (b : boundary) | signed (b : signed_boundary).

(* What is read at position x on an axis of n samples: samples with their coefficients. *)
Definition terms (c : continuation) (x n : Z) : list (Z * Z) :=
  match c with
  | plain b => if 0 <=? read_sample b x n then [(read_sample b x n, 1)] else []
  | signed b => read_terms b x n
  end.

Section Signed.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* An integer as an element of the ring: a sum of ones. *)
Definition integer (z : Z) : K := gen_phiZ ring_zero ring_one ring_add ring_mul ring_opp z.
Lemma integer_add a b : integer (a + b) = (integer a + integer b)%K.
Proof. exact (gen_phiZ_add (Eqsth K) (Eq_ext _ _ _) (ring_laws K) a b). Qed.
Lemma integer_mul a b : integer (a * b) = (integer a * integer b)%K.
Proof. exact (gen_phiZ_mul (Eqsth K) (Eq_ext _ _ _) (ring_laws K) a b). Qed.
Lemma integer_0 : integer 0 = 0%K.
Proof. reflexivity. Qed.
Lemma integer_1 : integer 1 = 1%K.
Proof. reflexivity. Qed.
Lemma integer_minus_1 : integer (-1) = (- (1))%K.
Proof. reflexivity. Qed.

(* An array on axes of the given sizes, continued to all positions: the terms of each axis are read in those of the others. *)
Fixpoint continued (sizes : list Z) (cs : list continuation) (x : list Z -> K) (p : list Z) : K :=
  match sizes, cs, p with
  | n :: sizes, c :: cs, p0 :: p =>
      sum (terms c p0 n) (fun term => integer (snd term) * continued sizes cs (fun j => x (fst term :: j)) p)%K
  | _, _, _ => x []
  end.

(* The output of a layer whose axes continue as given, whatever the plain boundaries in its axes are. *)
Definition apply_continued (l : layer) (cs : list continuation) (w : weights K) (b : Z -> K) (x : array K) : array K :=
  fun o i => (b o + sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
    w o c (weight_index (axes l) i t)
    * continued (input_shape l) cs (x (input_channel l o c)) (positions (axes l) i t))))%K.

Lemma continued_ext sizes cs x y p : (forall j, x j = y j) -> continued sizes cs x p = continued sizes cs y p.
Proof.
  revert cs x y p. induction sizes as [|n sizes IH]; intros [|c cs] x y [|p0 p] E; simpl; auto.
  apply sum_ext. intros term _. f_equal. apply IH. intro j. apply E.
Qed.

(* With plain boundaries this is the layer itself. *)
Theorem apply_continued_plain (l : layer) (w : weights K) b x o i : within (output_shape l) i ->
  apply_continued l (map (fun a => plain (axis_boundary a)) (axes l)) w b x o i = apply l w b x o i.
Proof.
  intro Hi. unfold apply_continued, apply. f_equal. apply sum_ext; intros c _. apply sum_ext; intros t Ht. f_equal.
  apply in_grid, within_length in Ht. apply within_length in Hi. unfold output_shape, kernel_shape, input_shape in *.
  rewrite map_length in *. generalize (x (input_channel l o c)). revert i t Hi Ht. unfold samples, positions.
  induction (axes l) as [|a axes IH]; intros [|i0 i] [|t0 t] Hi Ht y; simpl in *; try discriminate; [reflexivity|].
  injection Hi as Hi. injection Ht as Ht. specialize (IH i t Hi Ht). unfold read in *. simpl.
  change (sample a i0 t0) with (read_sample (axis_boundary a) (position a i0 t0) (n_samples a)).
  destruct (0 <=? read_sample (axis_boundary a) (position a i0 t0) (n_samples a)); simpl; [|reflexivity].
  rewrite IH. change (integer 1) with (1%K : K). destruct (present _); ring.
Qed.
End Signed.
