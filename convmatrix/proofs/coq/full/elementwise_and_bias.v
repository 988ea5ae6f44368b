(* Theorem elementwise-and-bias, in full.

   1. A function applied to each entry commutes with every map of the places, in particular with every shift, on any
      number of axes, between any two types.
   2. The addition of one bias per channel commutes with every shift, on arrays and on their flat vectors in C order.
   3. The addition of one bias per unit commutes with a shift if and only if each bias is that of the shifted unit. With
      two or more places along an axis there are biases for which it does not commute with the shift by one there.
   4. A shift is a permutation of the places, undone by the opposite shift. *)
From Coq Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Lemmas_elementwise_and_bias.
Import ListNotations.
Open Scope Z_scope.

Definition elementwise {V W} (f : V -> W) (x : array V) : array W := fun h i => f (x h i).
Definition add_shared {K : commutative_ring} (b : Z -> K) (x : array K) : array K := fun h i => (x h i + b h)%K.
Definition add_single {K : commutative_ring} (b : array K) (x : array K) : array K := fun h i => (x h i + b h i)%K.

(* The flat index in C order, of a place and of a unit in channel h; the channel of a unit is its quotient. *)
Definition product : list Z -> Z := fold_right Z.mul 1.
Fixpoint flat (sizes place : list Z) : Z :=
  match sizes, place with n :: sizes, i :: place => i * product sizes + flat sizes place | _, _ => 0 end.
Definition unit (sizes : list Z) (h : Z) (place : list Z) : Z := h * product sizes + flat sizes place.
Definition add_shared_flat {K : commutative_ring} (sizes : list Z) (b : Z -> K) (x : Z -> K) : Z -> K :=
  fun u => (x u + b (u / product sizes)%Z)%K.

Lemma flat_range sizes place : within sizes place -> 0 <= flat sizes place < product sizes.
Proof. induction 1 as [|n i sizes place Hi H IH]; simpl; [lia|]. nia. Qed.

Lemma unit_channel sizes h place : within sizes place -> unit sizes h place / product sizes = h.
Proof.
  intro H. apply flat_range in H. set (n := product sizes) in *. set (x := flat sizes place) in *.
  assert (N : 1 <= n) by lia. symmetry.
  apply (elementwise_and_bias_channel n x h 0 _ (unit sizes h place mod n) N H).
  - apply Z.mod_pos_bound. lia.
  - change (read_sample circular (x + 0) n) with ((x + 0) mod n). rewrite Z.add_0_r, Z.mod_small by assumption.
    change (h * n + x) with (unit sizes h place). rewrite Z.mul_comm. apply Z.div_mod. lia.
Qed.

(* The shift by one on one axis, and by zero on those before and after it. *)
Definition step (before after : list Z) : list Z := map (fun _ => 0) before ++ 1 :: map (fun _ => 0) after.

Lemma step_moves before n after place : 2 <= n -> Forall (fun m => 1 <= m) before ->
  within (before ++ n :: after) place -> shift (before ++ n :: after) (step before after) place <> place.
Proof.
  unfold step, shift. intros N F H E. revert place H E. induction F as [|m before Hm F IH]; simpl; intros place H E;
    inversion H as [|? i ? rest Hi Hr]; subst; simpl in E; injection E as E E'.
  - exact (elementwise_and_bias_unit n i N Hi E).
  - exact (IH rest Hr E').
Qed.

Section Cancel.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).
Lemma cancel (x y z : K) : (x + y = x + z -> y = z)%K.
Proof. intro E. transitivity (x + y - x)%K; [ring|]. rewrite E. ring. Qed.
End Cancel.

Theorem elementwise_and_bias_theorem :
  (forall (V W : Type) (f : V -> W) (x : array V) (q : list Z -> list Z) h i,
    at_places q (elementwise f x) h i = elementwise f (at_places q x) h i)
  /\ (forall (K : commutative_ring) (b : Z -> K) (x : array K) (q : list Z -> list Z) h i,
    at_places q (add_shared b x) h i = add_shared b (at_places q x) h i)
  /\ (forall (K : commutative_ring) (sizes c : list Z) (b : Z -> K) (x : Z -> K) (q : Z -> Z),
    length c = length sizes ->
    (forall h i, within sizes i -> q (unit sizes h i) = unit sizes h (shift sizes c i)) ->
    forall h i, within sizes i ->
    add_shared_flat sizes b x (q (unit sizes h i)) = add_shared_flat sizes b (fun u => x (q u)) (unit sizes h i))
  /\ (forall (K : commutative_ring) (b : array K) (q : list Z -> list Z) h i,
    (forall x, at_places q (add_single b x) h i = add_single b (at_places q x) h i) <-> b h (q i) = b h i)
  /\ (forall (K : commutative_ring) (before after : list Z) (n : Z) (place : list Z) (h : Z), (1 <> 0 :> K)%K ->
    2 <= n -> Forall (fun m => 1 <= m) before -> within (before ++ n :: after) place ->
    exists b : array K, forall x, at_places (shift (before ++ n :: after) (step before after)) (add_single b x) h place
      <> add_single b (at_places (shift (before ++ n :: after) (step before after)) x) h place)
  /\ (forall (sizes c place : list Z), length c = length sizes -> within sizes place ->
    shift sizes c (shift sizes (map Z.opp c) place) = place).
Proof.
  refine (conj _ (conj _ (conj _ (conj _ (conj _ _))))).
  - reflexivity.
  - reflexivity.
  - intros K sizes c b x q L Q h i H. unfold add_shared_flat. rewrite (Q h i H). f_equal.
    rewrite !unit_channel; auto. apply shift_within; auto using within_length.
    clear -H. induction H; constructor; auto; lia.
  - intros K b q h i. unfold at_places, add_single. split.
    + intro H. exact (cancel _ _ _ (H (fun _ _ => 0%K))).
    + intros -> x. reflexivity.
  - intros K before after n place h one N F H.
    exists (fun _ i => if same_place i place then 1%K else 0%K). unfold at_places, add_single.
    intros x E. apply cancel in E. pose proof (step_moves before n after place N F H).
    destruct (same_place place place); [|congruence].
    destruct (same_place (shift _ _ place) place); [contradiction|]. congruence.
  - intros sizes c place L H. revert c L. unfold shift, rolled.
    induction H as [|n i sizes place Hi H IH]; intros [|c0 c] L; simpl; try discriminate; [reflexivity|].
    f_equal; [|apply IH; simpl in L; lia].
    rewrite Z.add_opp_r. exact (elementwise_and_bias_permutation n i c0 ltac:(lia) Hi).
Qed.
Print Assumptions elementwise_and_bias_theorem.
