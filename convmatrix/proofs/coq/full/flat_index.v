(* Theorem flat-index: the flat index in C order is a bijection between the places of an array and 0, ..., size - 1, on any
   number of axes. *)
Require Import ZArith List Lia.
From Convmatrix Require Import Sums Rule Layers Lemmas_flat_index.
Import ListNotations.
Open Scope Z_scope.

(* ((c H) + y) W + x: from the first axis to the last, the index so far times the size of the axis, plus the coordinate. *)
Definition flat_step (index : Z) (axis : Z * Z) : Z := index * fst axis + snd axis.
Definition flat_index (sizes place : list Z) : Z := fold_left flat_step (combine sizes place) 0.
(* The number of places: the product of the sizes. *)
Definition array_size (sizes : list Z) : Z := fold_left Z.mul sizes 1.

Lemma flat_index_last sizes n place i : length place = length sizes ->
  flat_index (sizes ++ [n]) (place ++ [i]) = flat_index sizes place * n + i.
Proof.
  intro L. unfold flat_index. replace (combine (sizes ++ [n]) (place ++ [i])) with (combine sizes place ++ [(n, i)]).
  - rewrite fold_left_app. reflexivity.
  - revert place L. induction sizes as [|m sizes IH]; intros [|j place] L; simpl in *; try discriminate; [reflexivity|].
    rewrite IH by lia. reflexivity.
Qed.

Lemma array_size_last sizes n : array_size (sizes ++ [n]) = array_size sizes * n.
Proof. unfold array_size. rewrite fold_left_app. reflexivity. Qed.

Lemma within_last sizes n place : within (sizes ++ [n]) place <->
  exists rest i, place = rest ++ [i] /\ within sizes rest /\ 0 <= i < n.
Proof.
  unfold within. split.
  - intro H. apply Forall2_app_inv_l in H. destruct H as (rest & last & H & G & ->).
    inversion G as [|? i ? none Hi N]; subst. inversion N; subst. eauto 10.
  - intros (rest & i & -> & H & Hi). apply Forall2_app; [exact H|]. repeat constructor; lia.
Qed.

Lemma array_size_positive sizes : Forall (fun n => 1 <= n) sizes -> 1 <= array_size sizes.
Proof.
  induction sizes as [|n sizes IH] using rev_ind; [unfold array_size; simpl; lia|].
  rewrite Forall_app. intros [H N]. inversion N; subst. rewrite array_size_last. specialize (IH H). nia.
Qed.

(* Every place has an index from 0 to size - 1; different places have different ones; and every such integer is the index of
   a place. *)
Theorem flat_index_theorem (sizes : list Z) : Forall (fun n => 1 <= n) sizes ->
  (forall place, within sizes place -> 0 <= flat_index sizes place < array_size sizes)
  /\ (forall place other, within sizes place -> within sizes other ->
      flat_index sizes place = flat_index sizes other -> place = other)
  /\ (forall index, 0 <= index < array_size sizes -> exists place, within sizes place /\ flat_index sizes place = index).
Proof.
  induction sizes as [|n sizes IH] using rev_ind; intro H.
  - unfold flat_index, array_size. simpl. split; [|split].
    + intros; lia.
    + intros p q P Q _. inversion P; inversion Q; congruence.
    + intros index I. exists []. split; [constructor | lia].
  - apply Forall_app in H. destruct H as [H N]. inversion N as [|? ? Hn _]; subst. destruct (IH H) as (R & I & S).
    pose proof (array_size_positive sizes H) as P. rewrite array_size_last. split; [|split].
    + intros place W. apply within_last in W. destruct W as (rest & i & -> & W & Hi).
      rewrite flat_index_last by (apply within_length, W). apply flat_index_range; try assumption. apply R, W.
    + intros place other W V. apply within_last in W. apply within_last in V.
      destruct W as (rest & i & -> & W & Hi). destruct V as (rest' & i' & -> & V & Hi').
      rewrite !flat_index_last by (apply within_length; assumption). intro E.
      apply flat_index_injective in E; try assumption. destruct E as [E ->]. rewrite (I rest rest' W V E). reflexivity.
    + intros index B. destruct (flat_index_surjective n index Hn) as [M D].
      apply Z.mod_divide in D; [|lia]. destruct D as [u D].
      assert (E : index = u * n + index mod n) by lia. rewrite E in B. apply flat_index_range in B; try assumption.
      destruct (S u B) as (rest & W & F). exists (rest ++ [index mod n]). split.
      * apply within_last. eauto 10.
      * rewrite flat_index_last by (apply within_length, W). lia.
Qed.
Print Assumptions flat_index_theorem.
