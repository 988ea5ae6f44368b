(* Theorem circulant-converse, in full.

   Let a matrix, between arrays with any numbers of channels on a grid with any number of axes, commute with the cyclic
   shift by one along each axis. Then it is the matrix of the circular layer with stride 1, no padding and kernels as
   large as the grid, whose weights are the first row of the matrix: entry by entry, and applied to every input. *)
From Coq Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_circulant_converse.
Import ListNotations.
Open Scope Z_scope.

(* The entry in the row of output (o, i) and the column of input (h, j): channels and places. *)
Definition matrix (K : Type) := Z -> list Z -> Z -> list Z -> K.
Definition zeros {A} (l : list A) : list Z := map (fun _ => 0) l.

(* The rows and columns may be moved along. *)
Definition invariant {K} (sizes : list Z) (M : matrix K) (q : list Z -> list Z) : Prop :=
  forall o h i j, within sizes i -> within sizes j -> M o (q i) h (q j) = M o i h j.
(* The matrix commutes with the shift by one along every axis: 1 for one axis, 0 for those before and after. *)
Definition commutes_with_steps {K} (sizes : list Z) (M : matrix K) : Prop :=
  forall before n after, sizes = before ++ n :: after -> invariant sizes M (shift sizes (zeros before ++ 1 :: zeros after)).

Definition ring_layer (sizes : list Z) (inputs outputs : Z) : layer :=
  Layer (map (fun n => Axis n n n 1 1 0 circular false 1) sizes) 1 inputs outputs.
Definition first_row {K} (sizes : list Z) (M : matrix K) : weights K := fun o h t => M o (zeros sizes) h t.

(* --- any shift is made of steps --- *)

Lemma shift_add sizes c d i : shift sizes (pairwise Z.add c d) i = shift sizes c (shift sizes d i).
Proof.
  unfold shift. revert c d i. induction sizes as [|n sizes IH]; intros [|c cs] [|d ds] [|i is]; simpl; auto.
  f_equal; [|apply IH]. unfold rolled. rewrite Zplus_mod_idemp_l. f_equal. ring.
Qed.

Lemma shift_zeros sizes i : within sizes i -> shift sizes (zeros sizes) i = i.
Proof.
  unfold shift, zeros. induction 1 as [|n i sizes is Hi H IH]; simpl; [reflexivity|]. rewrite IH. f_equal.
  unfold rolled. rewrite Z.add_0_r. apply Z.mod_small; assumption.
Qed.

Lemma zeros_add (l : list Z) c : length c = length l -> pairwise Z.add (zeros l) c = c.
Proof. revert c. induction l as [|a l IH]; intros [|c0 c] L; try discriminate; simpl; auto. f_equal. apply IH. auto. Qed.

Lemma pairwise_app (l l' m m' : list Z) : length l = length m ->
  pairwise Z.add (l ++ l') (m ++ m') = pairwise Z.add l m ++ pairwise Z.add l' m'.
Proof. revert m. induction l as [|a l IH]; intros [|b m] L; try discriminate; simpl; auto. f_equal. apply IH. auto. Qed.

Lemma zeros_length {A} (l : list A) : length (zeros l) = length l.
Proof. apply map_length. Qed.

Lemma invariant_add {K} sizes (M : matrix K) c d : Forall (fun n => 1 <= n) sizes -> length d = length sizes ->
  invariant sizes M (shift sizes c) -> invariant sizes M (shift sizes d) ->
  invariant sizes M (shift sizes (pairwise Z.add c d)).
Proof.
  intros F L C D o h i j Hi Hj. rewrite !shift_add, C; [apply D; assumption|..];
    apply shift_within; auto using within_length.
Qed.

Section Steps.
Context {K : Type} (sizes : list Z) (M : matrix K).
Hypothesis F : Forall (fun n => 1 <= n) sizes.
Hypothesis H : commutes_with_steps sizes M.

Lemma invariant_zeros : invariant sizes M (shift sizes (zeros sizes)).
Proof. intros o h i j Hi Hj. rewrite !shift_zeros; auto. Qed.

Lemma invariant_along before n after (m : nat) : sizes = before ++ n :: after ->
  invariant sizes M (shift sizes (zeros before ++ Z.of_nat m :: zeros after)).
Proof.
  intro E. induction m as [|m IH].
  - replace (zeros before ++ Z.of_nat 0 :: zeros after) with (zeros sizes); [apply invariant_zeros|].
    rewrite E. unfold zeros. rewrite map_app. reflexivity.
  - replace (zeros before ++ Z.of_nat (S m) :: zeros after)
      with (pairwise Z.add (zeros before ++ 1 :: zeros after) (zeros before ++ Z.of_nat m :: zeros after)).
    + apply invariant_add; [exact F | | exact (H before n after E) | exact IH].
      rewrite E, !app_length. simpl. rewrite !zeros_length. reflexivity.
    + rewrite pairwise_app by reflexivity. rewrite zeros_add by apply zeros_length. f_equal. cbn [pairwise].
      rewrite zeros_add by apply zeros_length. f_equal. lia.
Qed.

Lemma invariant_after after before c : sizes = before ++ after -> length c = length after -> Forall (fun a => 0 <= a) c ->
  invariant sizes M (shift sizes (zeros before ++ c)).
Proof.
  revert before c. induction after as [|n after IH]; intros before [|c0 c] E L P; try discriminate.
  - replace (zeros before ++ []) with (zeros sizes); [apply invariant_zeros|]. rewrite E. unfold zeros. rewrite map_app. reflexivity.
  - inversion P as [|? ? P0 P']; subst x l. simpl in L.
    replace (zeros before ++ c0 :: c)
      with (pairwise Z.add (zeros before ++ c0 :: zeros after) (zeros (before ++ [n]) ++ c)).
    + apply invariant_add; [exact F | | |].
      * rewrite E, !app_length, zeros_length, app_length. simpl. lia.
      * rewrite <- (Z2Nat.id c0 P0). apply (invariant_along before n after). assumption.
      * apply IH; auto. rewrite <- app_assoc. assumption.
    + unfold zeros at 3. rewrite map_app, <- app_assoc. fold (zeros before). simpl.
      rewrite pairwise_app by reflexivity. rewrite zeros_add by apply zeros_length. f_equal. cbn [pairwise].
      rewrite zeros_add by auto. f_equal. lia.
Qed.

Lemma invariant_shift c : length c = length sizes -> Forall (fun a => 0 <= a) c -> invariant sizes M (shift sizes c).
Proof. exact (invariant_after sizes [] c eq_refl). Qed.
End Steps.

(* --- the entries --- *)

Definition difference (sizes j i : list Z) : list Z := shift sizes (pairwise Z.sub sizes i) j.

Lemma normal_form sizes i j : within sizes i -> within sizes j ->
  shift sizes (pairwise Z.sub sizes i) i = zeros sizes.
Proof.
  intros Hi Hj. unfold shift, zeros. clear Hj. induction Hi as [|n i sizes is Hi H IH]; simpl; [reflexivity|]. rewrite IH.
  f_equal. exact (proj1 (circulant_converse_normal_form n i i ltac:(lia) Hi Hi)).
Qed.

Lemma difference_within sizes i j : within sizes i -> within sizes j -> within sizes (difference sizes j i).
Proof.
  intros Hi Hj. apply shift_within.
  - clear Hj. induction Hi; constructor; auto; lia.
  - apply pairwise_length. exact (within_length _ _ Hi).
  - exact (within_length _ _ Hj).
Qed.

Lemma reads sizes i j t : within sizes i -> within sizes j -> within sizes t ->
  samples (map (fun n => Axis n n n 1 1 0 circular false 1) sizes) i t = j <-> t = difference sizes j i.
Proof.
  unfold samples, difference, shift. intro Hi. revert j t. induction Hi as [|n i sizes is Hi H IH]; intros j t Hj Ht;
    inversion Hj as [|? j0 ? js Hj0 Hj']; inversion Ht as [|? t0 ? ts Ht0 Ht']; subst; simpl; [tauto|].
  specialize (IH js ts Hj' Ht').
  destruct (circulant_converse_normal_form n i j0 ltac:(lia) Hi Hj0) as [_ N].
  unfold rolled at 1. rewrite N. destruct (circulant_converse_reading n i j0 ltac:(lia) Hi Hj0) as [_ R].
  split; intro E; injection E as E0 E1; f_equal; try (apply IH; assumption).
  - exact (circulant_converse_only_tap n i j0 t0 ltac:(lia) Hi Hj0 Ht0 E0).
  - rewrite E0. exact R.
Qed.

Theorem circulant_converse_theorem (K : commutative_ring) (sizes : list Z) (inputs outputs : Z) (M : matrix K) :
  Forall (fun n => 1 <= n) sizes -> 1 <= inputs -> 1 <= outputs -> commutes_with_steps sizes M ->
  let circular_layer := ring_layer sizes inputs outputs in
  let w := first_row sizes M in
  (forall o i h j, 0 <= o < outputs -> within sizes i -> 0 <= h < inputs -> within sizes j ->
    entry circular_layer w o i h j = M o i h j)
  /\ (forall (x : array K) o i, 0 <= o < outputs -> within sizes i -> apply circular_layer w no_bias x o i
      = sum (range inputs) (fun h => sum (grid sizes) (fun j => M o i h j * x h j))%K).
Proof.
  intros F Hin Hout H l w.
  assert (Sh : output_shape l = sizes /\ input_shape l = sizes /\ kernel_shape l = sizes).
  { unfold output_shape, input_shape, kernel_shape, l; simpl. rewrite !map_map. simpl. rewrite !map_id. auto. }
  destruct Sh as [So [Si Sk]].
  assert (E : forall o i h j, 0 <= o < outputs -> within sizes i -> 0 <= h < inputs -> within sizes j ->
    entry l w o i h j = M o i h j).
  { intros o i h j Ho Hi Hh Hj. unfold entry. rewrite Sk.
    assert (G : group_inputs l = inputs) by apply Z.div_1_r.
    assert (C : forall c, input_channel l o c = c).
    { intro c. unfold input_channel, group_outputs. simpl. rewrite Z.div_1_r, Z.div_small by assumption. apply Z.add_0_l. }
    rewrite G, (sum_single _ h); [|apply range_distinct|apply in_range; assumption|].
    2: { intros c _ N. apply sum_zero; intros t _. rewrite C. destruct (Z.eq_dec c h); congruence. }
    pose proof (difference_within sizes i j Hi Hj) as D.
    rewrite (sum_single _ (difference sizes j i)); [|apply grid_distinct|apply in_grid; assumption|].
    2: { intros t Ht N. apply in_grid in Ht. destruct (Z.eq_dec _ h); [|reflexivity].
         destruct (same_place _ j) as [E|]; [|reflexivity]. apply (reads sizes i j t Hi Hj Ht) in E. contradiction. }
    rewrite C. destruct (Z.eq_dec h h); [|congruence].
    pose proof (proj2 (reads sizes i j _ Hi Hj D) eq_refl) as R.
    change (samples (axes l)) with (samples (map (fun n => Axis n n n 1 1 0 circular false 1) sizes)). rewrite R.
    destruct (same_place j j); [|congruence].
    assert (W : weight_index (axes l) i (difference sizes j i) = difference sizes j i).
    { unfold weight_index, l; simpl. revert D. generalize (difference sizes j i). clear -Hi.
      induction Hi as [|n i sizes is Hi H IH]; intros t D; inversion D; subst; simpl; [reflexivity|].
      rewrite untiled_weight by reflexivity. f_equal. apply IH. assumption. }
    rewrite W. unfold w, first_row. rewrite <- (normal_form sizes i j Hi Hj).
    apply (invariant_shift sizes M F H); auto.
    - apply pairwise_length. exact (within_length _ _ Hi).
    - clear -Hi. induction Hi as [|n i sizes is Hi H IH]; constructor; [lia|assumption]. }
  split; [exact E|]. intros x o i Ho Hi. rewrite apply_entry.
  - unfold no_bias. rewrite add_zero, Si. apply sum_ext; intros h Hh. apply sum_ext; intros j Hj.
    apply in_range in Hh. apply in_grid in Hj. rewrite E; auto.
  - unfold proper, l, ring_layer. cbn [groups axes in_channels out_channels]. repeat split.
    + lia.
    + apply Forall_map. eapply Forall_impl; [|exact F]. intros n Hn. unfold proper_axis; simpl in *. lia.
    + exists inputs. lia.
    + exists outputs. lia.
  - exact Ho.
  - rewrite So. exact Hi.
Qed.
Print Assumptions circulant_converse_theorem.
