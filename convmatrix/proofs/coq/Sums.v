(* Commutative rings, ranges, grids, and finite sums over lists. *)
From Coq Require Import ZArith List Lia Ring Permutation.
Import ListNotations.
Open Scope Z_scope.

(* A commutative ring with one: weights and inputs may be integers, real or complex numbers, or residues. *)
Record commutative_ring := Commutative_ring {
  carrier :> Type;
  ring_zero : carrier;
  ring_one : carrier;
  ring_add : carrier -> carrier -> carrier;
  ring_mul : carrier -> carrier -> carrier;
  ring_sub : carrier -> carrier -> carrier;
  ring_opp : carrier -> carrier;
  ring_laws : ring_theory ring_zero ring_one ring_add ring_mul ring_sub ring_opp eq }.
Arguments ring_zero {_}. Arguments ring_one {_}. Arguments ring_add {_}. Arguments ring_mul {_}.
Arguments ring_sub {_}. Arguments ring_opp {_}.
Declare Scope ring_scope.
Delimit Scope ring_scope with K.
Bind Scope ring_scope with carrier.
Notation "0" := ring_zero : ring_scope.
Notation "1" := ring_one : ring_scope.
Infix "+" := ring_add : ring_scope.
Infix "*" := ring_mul : ring_scope.
Infix "-" := ring_sub : ring_scope.
Notation "- x" := (ring_opp x) : ring_scope.

(* The integers are one. *)
Definition integers : commutative_ring := {| ring_laws := InitialRing.Zth |}.

(* --- ranges and grids --- *)

(* 0, 1, ..., n - 1; none if n <= 0. *)
Definition range (n : Z) : list Z := map Z.of_nat (seq 0 (Z.to_nat n)).

(* The places of an array of the given sizes, in C order. *)
Fixpoint grid (sizes : list Z) : list (list Z) :=
  match sizes with
  | [] => [[]]
  | n :: sizes => flat_map (fun i => map (cons i) (grid sizes)) (range n)
  end.

(* One coordinate per axis, from 0 to the size of the axis less one. *)
Definition within (sizes place : list Z) : Prop := Forall2 (fun n i => 0 <= i < n) sizes place.

Lemma in_range n i : In i (range n) <-> 0 <= i < n.
Proof.
  unfold range. rewrite in_map_iff. split.
  - intros [m [<- H]]. apply in_seq in H. lia.
  - intro H. exists (Z.to_nat i). rewrite in_seq. lia.
Qed.

Lemma range_distinct n : NoDup (range n).
Proof. unfold range. apply FinFun.Injective_map_NoDup; [|apply seq_NoDup]. intros x y; lia. Qed.

Lemma in_grid sizes place : In place (grid sizes) <-> within sizes place.
Proof.
  revert place. induction sizes as [|n sizes IH]; intro place; simpl.
  - split; [intros [<-|[]]; constructor | inversion 1; auto].
  - rewrite in_flat_map. split.
    + intros [i [Hi H]]. apply in_map_iff in H. destruct H as [rest [<- H]].
      constructor; [apply in_range | apply IH]; assumption.
    + inversion 1 as [|? i ? rest Hi Hr]; subst. exists i. split; [apply in_range; assumption|].
      apply in_map. apply IH; assumption.
Qed.

Lemma distinct_app {A} (l l' : list A) : NoDup l -> NoDup l' -> (forall a, In a l -> ~ In a l') -> NoDup (l ++ l').
Proof.
  induction 1 as [|a l Ha Hl IH]; simpl; auto. intros Hl' H. constructor.
  - rewrite in_app_iff. intros [K|K]; [auto|]. apply (H a); auto.
  - apply IH; auto.
Qed.

Lemma grid_distinct sizes : NoDup (grid sizes).
Proof.
  induction sizes as [|n sizes IH]; simpl; [constructor; [easy|constructor]|].
  induction (range_distinct n) as [|i l Hi Hl IHl]; simpl; [constructor|].
  apply distinct_app; [apply FinFun.Injective_map_NoDup; [injection 1; auto|exact IH]|exact IHl|].
  intros place H K. apply in_map_iff in H. destruct H as [rest [<- _]].
  apply in_flat_map in K. destruct K as [j [Hj K]]. apply in_map_iff in K. destruct K as [? [E _]]. congruence.
Qed.

Lemma within_length sizes place : within sizes place -> length place = length sizes.
Proof. induction 1; simpl; auto. Qed.

Definition same_place : forall i j : list Z, {i = j} + {i <> j} := list_eq_dec Z.eq_dec.

(* --- sums --- *)

(* The sum of f over a list, as often as an element occurs in it. *)
Definition sum {K : commutative_ring} {A} (l : list A) (f : A -> K) : K := fold_right (fun a s => f a + s)%K 0%K l.

Section Sums.
Context {K : commutative_ring}.
Open Scope ring_scope.
Add Ring K_ring : (ring_laws K).

Lemma add_zero (a : K) : 0 + a = a.
Proof. ring. Qed.

Lemma mul_zero (a : K) : a * 0 = 0.
Proof. ring. Qed.

Lemma sum_ext {A} (l : list A) (f g : A -> K) : (forall a, In a l -> f a = g a) -> sum l f = sum l g.
Proof. induction l as [|a l IH]; simpl; intro H; [reflexivity|]. rewrite (H a), IH; auto. Qed.

Lemma sum_zero {A} (l : list A) (f : A -> K) : (forall a, In a l -> f a = 0) -> sum l f = 0.
Proof. induction l as [|a l IH]; simpl; intro H; [reflexivity|]. rewrite (H a), IH by auto. ring. Qed.

Lemma sum_app {A} (l l' : list A) (f : A -> K) : sum (l ++ l') f = sum l f + sum l' f.
Proof. induction l as [|a l IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma sum_map {A B} (h : A -> B) (l : list A) (f : B -> K) : sum (map h l) f = sum l (fun a => f (h a)).
Proof. induction l as [|a l IH]; simpl; [reflexivity|]. rewrite IH. reflexivity. Qed.

Lemma sum_flat_map {A B} (h : A -> list B) (l : list A) (f : B -> K) :
  sum (flat_map h l) f = sum l (fun a => sum (h a) f).
Proof. induction l as [|a l IH]; simpl; [reflexivity|]. rewrite sum_app, IH. reflexivity. Qed.

Lemma sum_add {A} (l : list A) (f g : A -> K) : sum l (fun a => f a + g a) = sum l f + sum l g.
Proof. induction l as [|a l IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma sum_sub {A} (l : list A) (f g : A -> K) : sum l (fun a => f a - g a) = sum l f - sum l g.
Proof. induction l as [|a l IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma sum_scale {A} (l : list A) (s : K) (f : A -> K) : sum l (fun a => s * f a) = s * sum l f.
Proof. induction l as [|a l IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma sum_scale_right {A} (l : list A) (f : A -> K) (s : K) : sum l (fun a => f a * s) = sum l f * s.
Proof. induction l as [|a l IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma sum_swap {A B} (l : list A) (l' : list B) (f : A -> B -> K) :
  sum l (fun a => sum l' (f a)) = sum l' (fun b => sum l (fun a => f a b)).
Proof.
  induction l as [|a l IH]; simpl; [symmetry; apply sum_zero; reflexivity|]. rewrite IH, <- sum_add. reflexivity.
Qed.

Lemma sum_permutation {A} (l l' : list A) (f : A -> K) : Permutation l l' -> sum l f = sum l' f.
Proof. induction 1; simpl; try congruence. ring. Qed.

(* A sum with one term that is not zero. *)
Lemma sum_single {A} (l : list A) (a : A) (f : A -> K) :
  NoDup l -> In a l -> (forall b, In b l -> b <> a -> f b = 0) -> sum l f = f a.
Proof.
  induction 1 as [|b l Hb Hl IH]; simpl; [easy|]. intros [->|Ha] H.
  - rewrite sum_zero; [ring|]. intros c Hc. apply H; auto. intros ->; auto.
  - rewrite IH, (H b); auto; [ring|]. intros ->; auto.
Qed.

(* Renaming the index of a sum by a bijection. *)
Lemma sum_bijection {A B} (l : list A) (l' : list B) (there : A -> B) (back : B -> A) (f : B -> K) :
  NoDup l -> NoDup l' ->
  (forall a, In a l -> In (there a) l' /\ back (there a) = a) ->
  (forall b, In b l' -> In (back b) l /\ there (back b) = b) ->
  sum l' f = sum l (fun a => f (there a)).
Proof.
  intros Hl Hl' H H'. rewrite <- (sum_map there l f). apply sum_permutation, NoDup_Permutation; auto.
  - clear H'. induction Hl as [|a l Ha Hl IH]; simpl; constructor.
    + rewrite in_map_iff. intros [c [E Hc]]. apply Ha. replace a with c; auto.
      rewrite <- (proj2 (H c (or_intror Hc))), <- (proj2 (H a (or_introl eq_refl))). congruence.
    + apply IH. intros; apply H; simpl; auto.
  - intro b. rewrite in_map_iff. split.
    + intro Hb. exists (back b). split; apply H'; assumption.
    + intros [a [<- Ha]]. apply H; assumption.
Qed.

(* A sum taken by the values of a function. *)
Lemma sum_by_value {A B} (same : forall b c : B, {b = c} + {b <> c}) (l : list A) (l' : list B) (h : A -> B) (f : A -> K) :
  NoDup l' -> (forall a, In a l -> In (h a) l') ->
  sum l f = sum l' (fun b => sum l (fun a => if same (h a) b then f a else 0)).
Proof.
  intros D H. rewrite <- sum_swap. apply sum_ext. intros a Ha. rewrite (sum_single l' (h a)); auto.
  - destruct (same (h a) (h a)); congruence.
  - intros b _ N. destruct (same (h a) b); congruence.
Qed.

Lemma sum_grid (n : Z) (sizes : list Z) (f : list Z -> K) :
  sum (grid (n :: sizes)) f = sum (range n) (fun i => sum (grid sizes) (fun place => f (i :: place))).
Proof. simpl. rewrite sum_flat_map. apply sum_ext. intros i _. apply sum_map. Qed.

End Sums.
