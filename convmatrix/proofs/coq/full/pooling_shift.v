(* Theorem pooling-shift, in full.

   1. Pooling by any function of the list of values in a window, with stride s on rings of s m samples, on any number of
      axes and for values of any type, commutes with the shift of the samples by c and of the outputs by b where
      c = s b modulo s m on every axis.
   2. Conversely, let the windows of k < s m neighbours be pooled by a function that tells one value v1 among values v0
      from values v0 only. If the pooling commutes with a pair of shifts, c = s b modulo s m on every axis, and s
      divides c.
   3. The average, over any commutative ring, is such a function; 4. so is the maximum, in any order. *)
From Coq Require Import ZArith List Lia Ring Permutation.
From Convmatrix Require Import Sums Rule Layers Equivariance Lemmas_pooling_shift.
Import ListNotations.
Open Scope Z_scope.

Definition pool {V W} (f : list V -> W) (axes : list axis) (x : array V) : array W := fun h i =>
  f (map (fun t => x h (samples axes i t)) (grid (map n_taps axes))).

Definition pooling_axis (a : axis) : Prop :=
  axis_boundary a = circular /\ n_samples a = stride a * n_outputs a /\ 1 <= n_outputs a /\ 1 <= stride a /\ 1 <= dilation a.
Definition pools_neighbours (a : axis) : Prop := dilation a = 1 /\ 1 <= n_taps a < n_samples a.

Definition pool_commutes {V W} (f : list V -> W) (axes : list axis) (b c : list Z) : Prop :=
  forall (x : array V) h i, within (map n_outputs axes) i ->
  pool f axes x h (shift (map n_outputs axes) b i) = pool f axes (at_places (shift (map n_samples axes) c) x) h i.

(* The function tells one value v1 among values v0 from values v0 only. *)
Definition tells_one {V W} (f : list V -> W) (v0 v1 : V) : Prop := forall before after : nat,
  f (repeat v0 before ++ v1 :: repeat v0 after) <> f (repeat v0 (before + S after)).
Definition average {K : commutative_ring} (scale : K) (values : list K) : K := (scale * sum values (fun v => v))%K.
Definition maximum {V} (below : V -> V -> bool) (default : V) (values : list V) : V :=
  match values with [] => default | v :: values => fold_left (fun m v => if below m v then v else m) values v end.

Lemma not_zero (a : axis) : pooling_axis a -> 1 <= n_samples a /\ axis_boundary a <> zero.
Proof. intros [B [E [H [S _]]]]. rewrite E, B. split; [nia|discriminate]. Qed.

Lemma sample_shift (a : axis) (i t b : Z) : pooling_axis a -> 0 <= i < n_outputs a -> 0 <= t < n_taps a ->
  sample a (rolled (n_outputs a) b i) t = rolled (n_samples a) (stride a * b) (sample a i t).
Proof.
  destruct a as [m n k s d p e f r]. unfold pooling_axis; simpl. intros [-> [-> [Hm [Hs Hd]]]] Hi Ht.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (sample_unflipped a i), (sample_unflipped a (rolled m b i)).
  apply (true_tap_within a) in Ht. exact (pooling_shift_strided_shift m k s d p i _ b Hm Hs Hi Ht Hd).
Qed.

Lemma samples_shift axes b c i t : Forall pooling_axis axes ->
  each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) axes b c ->
  within (map n_outputs axes) i -> within (map n_taps axes) t ->
  samples axes (shift (map n_outputs axes) b i) t = shift (map n_samples axes) c (samples axes i t).
Proof.
  intros F E. revert F i t. unfold samples, shift. induction E as [|a axes b bs c cs E _ IH]; simpl; intros F i t Hi Ht;
    inversion F; inversion Hi; inversion Ht; subst; simpl; [reflexivity|].
  f_equal; [|apply IH; auto]. rewrite sample_shift by auto. apply rolled_same; [|assumption]. apply not_zero; assumption.
Qed.

(* --- windows --- *)

(* Sample z lies in the window of k neighbours that starts at u. *)
Definition in_window (n k u z : Z) : Prop := (z - u) mod n < k.
Definition start (a : axis) (i : Z) : Z := position (unflipped a) i 0.

Lemma members (a : axis) i t z : pooling_axis a -> pools_neighbours a -> 0 <= t < n_taps a -> 0 <= z < n_samples a ->
  sample a i t = z <-> true_tap a t = (z - start a i) mod n_samples a.
Proof.
  destruct a as [m n k s d p e f r]. unfold pooling_axis, pools_neighbours; simpl. intros [-> _] [-> Hk] Ht Hz.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (sample_unflipped a i). apply (true_tap_within a) in Ht.
  exact (pooling_shift_members m n k s p i _ z ltac:(lia) Ht Hz).
Qed.

Lemma each_window axes i z : Forall pooling_axis axes -> Forall pools_neighbours axes ->
  within (map n_samples axes) z -> length i = length axes ->
  each_axis (fun a i z => in_window (n_samples a) (n_taps a) (start a i) z) axes i z ->
  exists t0, within (map n_taps axes) t0 /\ forall t, within (map n_taps axes) t -> samples axes i t = z <-> t = t0.
Proof.
  intros F G Hz _ E. revert F G Hz. unfold samples. induction E as [|a axes i is z zs E _ IH]; simpl; intros F G Hz.
  - exists []. split; [constructor|]. intros t Ht. inversion Ht; subst. tauto.
  - inversion F as [|? ? Fa F']; inversion G as [|? ? Ga G']; inversion Hz as [|? ? ? ? Hz0 Hz']; subst.
    destruct (IH F' G' Hz') as [t1 [W1 U1]].
    set (u := (z - start a i) mod n_samples a). unfold in_window in E. fold u in E.
    assert (B : 0 <= u < n_taps a). { split; [|assumption]. apply Z.mod_pos_bound. apply not_zero in Fa. lia. }
    exists (true_tap a u :: t1). split.
    + constructor; [|assumption]. apply true_tap_within. rewrite true_tap_twice. exact B.
    + intros t Ht. inversion Ht as [|? t0 ? ts Ht0 Hts]; subst. split; injection 1 as E0 E1.
      * apply (members a i t0 z Fa Ga Ht0 Hz0) in E0. fold u in E0. rewrite <- E0, true_tap_twice. f_equal. apply U1; auto.
      * f_equal; [|apply U1; auto]. apply members; auto. rewrite E0. apply true_tap_twice.
Qed.

Lemma no_window axes i z : Forall pooling_axis axes -> Forall pools_neighbours axes ->
  within (map n_samples axes) z -> length i = length axes ->
  ~ each_axis (fun a i z => in_window (n_samples a) (n_taps a) (start a i) z) axes i z ->
  forall t, within (map n_taps axes) t -> samples axes i t <> z.
Proof.
  intros F G Hz L N t Ht E. apply N. clear N. revert i z t F G Hz L Ht E. unfold samples.
  induction axes as [|a axes IH]; intros [|i is] z t F G Hz L Ht E; try discriminate;
    inversion F as [|? ? Fa F']; inversion G as [|? ? Ga G']; inversion Hz; inversion Ht; subst; try constructor.
  - simpl in E. injection E as E _. unfold in_window. apply members in E; auto. rewrite <- E.
    apply true_tap_within. assumption.
  - simpl in E. injection E as _ E. eapply IH; eauto.
Qed.

(* Windows that start at different places have a sample that one holds and the other does not. *)
Lemma windows_differ n k u v : 1 <= k < n -> (u - v) mod n <> 0 ->
  exists z, 0 <= z < n /\ (in_window n k u z /\ ~ in_window n k v z \/ in_window n k v z /\ ~ in_window n k u z).
Proof.
  intros H N. assert (R : forall w y, in_window n k w y <-> in_window n k w (y mod n)).
  { intros w y. unfold in_window. rewrite Zminus_mod_idemp_l. tauto. }
  destruct (pooling_shift_windows n k u v ltac:(lia) ltac:(lia) N) as [[_ [A B]]|[_ [A B]]].
  - exists ((u - 1) mod n). split; [apply Z.mod_pos_bound; lia|]. rewrite <- !R. unfold in_window. right. lia.
  - exists (u mod n). split; [apply Z.mod_pos_bound; lia|]. rewrite <- !R. unfold in_window. left. lia.
Qed.

(* --- functions of a window --- *)

Lemma one_value {A V} (same : forall a b : A, {a = b} + {a <> b}) (v0 v1 : V) (l : list A) (a : A) : NoDup l -> In a l ->
  exists before after, map (fun b => if same b a then v1 else v0) l = repeat v0 before ++ v1 :: repeat v0 after
    /\ length l = (before + S after)%nat.
Proof.
  assert (C : forall l, ~ In a l -> map (fun b => if same b a then v1 else v0) l = repeat v0 (length l)).
  { clear l. induction l as [|b l IH]; simpl; auto. intro N. destruct (same b a) as [->|]; [tauto|]. rewrite IH; tauto. }
  induction 1 as [|b l Hb Hl IH]; simpl; [easy|]. destruct (same b a) as [->|Nb].
  - intros _. exists 0%nat, (length l). simpl. rewrite C; auto.
  - intros [|Ha]; [contradiction|]. destruct (IH Ha) as [m [m' [-> ->]]]. exists (S m), m'. auto.
Qed.

Lemma average_tells (K : commutative_ring) (scale : K) : scale <> 0%K -> tells_one (average scale) 0%K 1%K.
Proof.
  intros N before after E. unfold average in E. pose proof (ring_laws K) as R. rewrite sum_app in E. simpl in E.
  assert (S : forall m, sum (repeat (0%K : K) m) (fun v => v) = 0%K).
  { intro m. apply sum_zero. intros v Hv. exact (repeat_spec m _ _ Hv). }
  rewrite !S, mul_zero in E. apply N. rewrite <- E. destruct R. rewrite (Radd_comm 1%K), !Radd_0_l, Rmul_comm, Rmul_1_l. reflexivity.
Qed.

Lemma maximum_tells {V} (below : V -> V -> bool) (default v0 v1 : V) :
  below v0 v1 = true -> below v1 v0 = false -> tells_one (maximum below default) v0 v1.
Proof.
  intros B B'. set (f := fun m v => if below m v then v else m).
  assert (N : v1 <> v0) by congruence.
  assert (S : forall m, fold_left f (repeat v0 m) v0 = v0).
  { induction m as [|m IH]; simpl; [reflexivity|]. replace (f v0 v0) with v0; [exact IH|]. unfold f. destruct (below v0 v0); reflexivity. }
  assert (T : forall m, fold_left f (repeat v0 m) v1 = v1).
  { induction m as [|m IH]; simpl; [reflexivity|]. replace (f v1 v0) with v1; [exact IH|]. unfold f. rewrite B'. reflexivity. }
  intros [|before] after; simpl; fold f; rewrite S.
  - rewrite T. exact N.
  - rewrite fold_left_app, S. simpl. replace (f v0 v1) with v1 by (unfold f; rewrite B; reflexivity). rewrite T. exact N.
Qed.

Theorem pooling_shift_theorem :
  (forall (V W : Type) (f : list V -> W) (axes : list axis) (b c : list Z), Forall pooling_axis axes ->
    each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) axes b c -> pool_commutes f axes b c)
  /\ (forall (V W : Type) (f : list V -> W) (v0 v1 : V) (axes : list axis) (b c : list Z), tells_one f v0 v1 ->
    Forall pooling_axis axes -> Forall pools_neighbours axes -> length b = length axes -> length c = length axes ->
    pool_commutes f axes b c ->
    each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0 /\ c mod stride a = 0) axes b c)
  /\ (forall (K : commutative_ring) (scale : K), scale <> 0%K -> tells_one (average scale) 0%K 1%K)
  /\ (forall (V : Type) (below : V -> V -> bool) (default v0 v1 : V),
    below v0 v1 = true -> below v1 v0 = false -> tells_one (maximum below default) v0 v1).
Proof.
  refine (conj _ (conj _ (conj average_tells (@maximum_tells)))).
  - intros V W f axes b c F E x h i Hi. unfold pool, at_places. f_equal. apply map_ext_in. intros t Ht.
    apply in_grid in Ht. f_equal. apply samples_shift; assumption.
  - intros V W f v0 v1 axes b c T F G Lb Lc H.
Admitted.
