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

Lemma samples_shift axes b c i t : Forall ring_axis axes ->
  each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) axes b c ->
  within (map n_outputs axes) i -> within (map n_taps axes) t ->
  samples axes (shift (map n_outputs axes) b i) t = shift (map n_samples axes) c (samples axes i t).
Proof.
  intros F E. revert F i t. unfold samples, shift. induction E as [|a axes b bs c cs E _ IH]; simpl; intros F i t Hi Ht;
    inversion F; inversion Hi; inversion Ht; subst; simpl; [reflexivity|].
  f_equal; [|apply IH; auto]. rewrite (ring_axis_moves pooling_shift_strided_shift) by auto. apply rolled_same; [|assumption]. apply ring_axis_present; assumption.
Qed.

(* --- windows --- *)

(* Sample z lies in the window of k neighbours that starts at u. *)
Definition in_window (n k u z : Z) : Prop := (z - u) mod n < k.
Definition start (a : axis) (i : Z) : Z := position (unflipped a) i 0.

Lemma members (a : axis) i t z : ring_axis a -> pools_neighbours a -> 0 <= t < n_taps a -> 0 <= z < n_samples a ->
  sample a i t = z <-> true_tap a t = (z - start a i) mod n_samples a.
Proof.
  destruct a as [m n k s d p e f r]. unfold ring_axis, pools_neighbours; simpl. intros [-> _] [-> Hk] Ht Hz.
  set (a := Axis _ _ _ _ _ _ _ _ _). rewrite (sample_unflipped a i). apply (true_tap_within a) in Ht.
  exact (pooling_shift_members m n k s p i _ z ltac:(lia) ltac:(lia) Ht Hz).
Qed.

(* A reading of windows that start at u: one function of the tap per axis, which reads z just where z is in the window. *)
Definition reads_window (a : axis) (g : Z -> Z) (u : Z) : Prop := forall t z, 0 <= t < n_taps a -> 0 <= z < n_samples a ->
  g t = z <-> true_tap a t = (z - u) mod n_samples a.
Definition holds (axes : list axis) (u z : list Z) : Prop :=
  each_axis (fun a u z => in_window (n_samples a) (n_taps a) u z) axes u z.

Lemma one_tap axes g u z : Forall pools_neighbours axes -> each_axis reads_window axes g u ->
  within (map n_samples axes) z -> holds axes u z ->
  exists t0, within (map n_taps axes) t0 /\ forall t, within (map n_taps axes) t -> each g t = z <-> t = t0.
Proof.
  intros F R. revert F z. induction R as [|a axes g gs u us R _ IH]; simpl; intros F z Hz H;
    inversion H as [|? ? ? ? z0 zs Hw Hr]; subst; inversion Hz as [|? ? ? ? Hz0 Hz']; subst.
  - exists []. split; [constructor|]. intros t Ht. inversion Ht; subst. tauto.
  - inversion F as [|? ? Fa F']; subst. destruct (IH F' zs Hz' Hr) as [t1 [W1 U1]].
    set (y := (z0 - u) mod n_samples a). unfold in_window in Hw. fold y in Hw.
    assert (B : 0 <= y < n_taps a). { split; [|assumption]. apply Z.mod_pos_bound. destruct Fa. lia. }
    exists (true_tap a y :: t1). split.
    + constructor; [|assumption]. apply true_tap_within. rewrite true_tap_twice. exact B.
    + intros t Ht. inversion Ht as [|? t0 ? ts Ht0 Hts]; subst. split; injection 1 as E0 E1.
      * apply (R t0 z0 Ht0 Hz0) in E0. fold y in E0. rewrite <- E0, true_tap_twice. f_equal. apply U1; auto.
      * f_equal; [|apply U1; auto]. apply R; auto. rewrite E0. apply true_tap_twice.
Qed.

Lemma no_tap axes g u z : each_axis reads_window axes g u -> within (map n_samples axes) z -> ~ holds axes u z ->
  forall t, within (map n_taps axes) t -> each g t <> z.
Proof.
  intros R Hz N t Ht E. apply N. clear N. revert z t Hz Ht E. unfold holds.
  induction R as [|a axes g gs u us R _ IH]; intros [|z zs] [|t ts] Hz Ht E; inversion Hz; inversion Ht; subst;
    constructor; injection E as E0 E1.
  - apply R in E0; auto. unfold in_window. rewrite <- E0.
    match goal with H : 0 <= t < n_taps a |- _ => apply true_tap_within in H; lia end.
  - eapply IH; eauto.
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

Lemma tell_apart axes u v : Forall pools_neighbours axes -> length u = length axes -> length v = length axes ->
  each_axis (fun a u v => (u - v) mod n_samples a = 0) axes u v
  \/ exists z, within (map n_samples axes) z /\ (holds axes u z /\ ~ holds axes v z \/ holds axes v z /\ ~ holds axes u z).
Proof.
  assert (W : forall a u v, pools_neighbours a -> (u - v) mod n_samples a = 0 ->
    in_window (n_samples a) (n_taps a) v (u mod n_samples a)).
  { intros a x y [_ H] E. unfold in_window. rewrite Zminus_mod_idemp_l, E. lia. }
  assert (S : forall axes u, Forall pools_neighbours axes -> length u = length axes ->
    exists z, within (map n_samples axes) z /\ holds axes u z).
  { clear axes u v. induction axes as [|a axes IH]; intros [|u us] F L; try discriminate.
    - exists []. split; constructor.
    - inversion F as [|? ? Fa F']; subst. destruct (IH us F' ltac:(simpl in L; lia)) as [z [Hz H]].
      exists (u mod n_samples a :: z). destruct Fa as [D Hk]. split; constructor; auto.
      + apply Z.mod_pos_bound; lia.
      + apply W; [split; assumption|]. rewrite Z.sub_diag. reflexivity. }
  revert u v. induction axes as [|a axes IH]; intros [|u us] [|v vs] F Lu Lv; try discriminate; [left; constructor|].
  inversion F as [|? ? Fa F']; subst. simpl in Lu, Lv.
  destruct (Z.eq_dec ((u - v) mod n_samples a) 0) as [E|N].
  - destruct (IH us vs F' ltac:(lia) ltac:(lia)) as [H|[z [Hz H]]]; [left; constructor; assumption|right].
    exists (u mod n_samples a :: z). pose proof Fa as [_ Hk]. split; [constructor; [apply Z.mod_pos_bound; lia|assumption]|].
    destruct H as [[H N]|[H N]]; [left|right]; split.
    + constructor; [|assumption]. apply W; auto. rewrite Z.sub_diag. reflexivity.
    + intro K. inversion K; subst. contradiction.
    + constructor; [|assumption]. apply W; auto.
    + intro K. inversion K; subst. contradiction.
  - right. destruct (windows_differ _ (n_taps a) u v (proj2 Fa) N) as [z [Hz [[A B]|[A B]]]].
    + destruct (S axes us F' ltac:(lia)) as [zs [Hzs H]]. exists (z :: zs). split; [constructor; assumption|left].
      split; [constructor; assumption|]. intro K. inversion K; subst. contradiction.
    + destruct (S axes vs F' ltac:(lia)) as [zs [Hzs H]]. exists (z :: zs). split; [constructor; assumption|right].
      split; [constructor; assumption|]. intro K. inversion K; subst. contradiction.
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

Lemma map_value {A V} (v0 : V) (l : list A) : map (fun _ => v0) l = repeat v0 (length l).
Proof. induction l as [|a l IH]; simpl; [|rewrite IH]; reflexivity. Qed.

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
  (forall (V W : Type) (f : list V -> W) (axes : list axis) (b c : list Z), Forall ring_axis axes ->
    each_axis (fun a b c => (c - stride a * b) mod n_samples a = 0) axes b c -> pool_commutes f axes b c)
  /\ (forall (V W : Type) (f : list V -> W) (v0 v1 : V) (axes : list axis) (b c : list Z), tells_one f v0 v1 ->
    Forall ring_axis axes -> Forall pools_neighbours axes -> length b = length axes -> length c = length axes ->
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
    set (i := map (fun _ => 0) axes). set (i' := shift (map n_outputs axes) b i).
    set (g := pairwise sample axes i'). set (g' := pairwise (fun a c t => rolled (n_samples a) c (sample a 0 t)) axes c).
    set (u := pairwise start axes i'). set (u' := pairwise (fun a c => start a 0 + c) axes c).
    assert (Li : length i = length axes) by apply map_length.
    assert (Li' : length i' = length axes).
    { unfold i'. rewrite shift_length; rewrite map_length; auto. }
    assert (Rg : each_axis reads_window axes g u).
    { unfold g, u. clearbody i'. clear -F G Li'. revert i' Li'. induction axes as [|a axes IH]; intros [|i0 i] L;
        try discriminate; simpl; inversion F; inversion G; subst; constructor; auto.
      intros t z. apply members; assumption. }
    assert (Rg' : each_axis reads_window axes g' u').
    { unfold g', u'. clear -F G Lc. revert c Lc. induction axes as [|a axes IH]; intros [|c0 c] L;
        try discriminate; simpl; inversion F as [|? ? Fa ?]; inversion G; subst; constructor; auto.
      intros t z Ht Hz. pose proof (ring_axis_present a Fa) as [S Z].
      assert (Hy : 0 <= (z - c0) mod n_samples a < n_samples a) by (apply Z.mod_pos_bound; lia).
      transitivity (sample a 0 t = (z - c0) mod n_samples a).
      - unfold rolled. pose proof (sample_range a 0 t S) as Q. assert (Q' : 0 <= sample a 0 t < n_samples a) by tauto.
        split; intro E.
        + rewrite <- E, Zminus_mod_idemp_l. rewrite Z.add_simpl_r. symmetry. apply Z.mod_small; assumption.
        + rewrite E, Zplus_mod_idemp_l. rewrite Z.sub_add. apply Z.mod_small; assumption.
      - rewrite (members a 0 t _ Fa) by assumption. rewrite Zminus_mod_idemp_l.
        replace (z - (start a 0 + c0)) with (z - c0 - start a 0) by ring. tauto. }
    assert (V1 : forall t, samples axes i' t = each g t).
    { unfold g. clearbody i'. clear -Li'. revert i' Li'. unfold samples. induction axes as [|a axes IH];
        intros [|i0 i] L [|t0 t]; try discriminate; simpl; auto. f_equal. apply IH. simpl in L; lia. }
    assert (V2 : forall t, shift (map n_samples axes) c (samples axes i t) = each g' t).
    { unfold g', i, shift, samples. clear -Lc. revert c Lc. induction axes as [|a axes IH]; intros [|c0 c] L [|t0 t];
        try discriminate; simpl; auto. f_equal. apply IH. simpl in L; lia. }
    assert (P : forall z, f (map (fun t => if same_place (each g t) z then v1 else v0) (grid (map n_taps axes)))
        = f (map (fun t => if same_place (each g' t) z then v1 else v0) (grid (map n_taps axes)))).
    { intro z. assert (Wi : within (map n_outputs axes) i).
      { apply first_within. eapply Forall_impl; [|exact F]. intros a [_ [_ [? _]]]; assumption. }
      transitivity (f (map (fun t => if same_place (samples axes i' t) z then v1 else v0) (grid (map n_taps axes)))).
      - f_equal. apply map_ext. intro t. rewrite V1. reflexivity.
      - etransitivity; [exact (H (fun _ j => if same_place j z then v1 else v0) 0 i Wi)|].
        unfold pool, at_places. f_equal. apply map_ext. intro t. rewrite V2. reflexivity. }
    assert (Q : forall g u g' u' z, each_axis reads_window axes g u -> each_axis reads_window axes g' u' ->
      within (map n_samples axes) z -> holds axes u z -> ~ holds axes u' z ->
      f (map (fun t => if same_place (each g t) z then v1 else v0) (grid (map n_taps axes)))
      <> f (map (fun t => if same_place (each g' t) z then v1 else v0) (grid (map n_taps axes)))).
    { clear -T G. intros g u g' u' z R R' Hz A B. destruct (one_tap axes g u z G R Hz A) as [t0 [Ht0 U]].
      pose proof (no_tap axes g' u' z R' Hz B) as N.
      destruct (one_value same_place v0 v1 _ t0 (grid_distinct (map n_taps axes)) (proj2 (in_grid _ _) Ht0)) as [m [m' [E L]]].
      rewrite (map_ext_in (fun t => if same_place (each g t) z then v1 else v0) (fun t => if same_place t t0 then v1 else v0)).
      - rewrite (map_ext_in (fun t => if same_place (each g' t) z then v1 else v0) (fun _ => v0)).
        + rewrite E, map_value, L. apply T.
        + intros t Ht. destruct (same_place _ z) as [K|]; [|reflexivity]. apply in_grid in Ht. destruct (N t Ht K).
      - intros t Ht. apply in_grid in Ht. specialize (U t Ht).
        destruct (same_place (each g t) z), (same_place t t0); tauto. }
    assert (Lu : length u = length axes) by (apply pairwise_length; assumption).
    assert (Lu' : length u' = length axes) by (apply pairwise_length; assumption).
    destruct (tell_apart axes u u' G Lu Lu') as [E|[z [Hz [[A B]|[A B]]]]].
    + clear -E F Lb Lc. subst u u' i' i. revert b c Lb Lc E. unfold shift.
      induction axes as [|a axes IH]; intros [|b0 b] [|c0 c] Lb Lc E; try discriminate; [constructor|].
      simpl in E. inversion E as [|? ? ? ? ? ? E0 E1]; inversion F as [|? ? Fa F']; subst.
      constructor; [|apply IH; auto; simpl in *; lia]. clear E E1 IH.
      destruct Fa as [_ [En [Hm [Hs _]]]]. unfold start, position, unflipped, tap_position in E0; simpl in E0.
      assert (C : (c0 - stride a * b0) mod n_samples a = 0).
      { rewrite En in *. apply Z.mod_divide in E0; [|nia]. destruct E0 as [v E0]. apply Z.mod_divide; [nia|].
        exists (- v - b0 / n_outputs a). unfold rolled in E0. rewrite Z.add_0_l, Z.mod_eq in E0 by lia. lia. }
      split; [exact C|]. apply (pooling_shift_starts (n_outputs a) (stride a) 0 b0 c0 Hm Hs).
      unfold position, tap_position; simpl. rewrite En in C. apply Z.mod_divide in C; [|nia]. destruct C as [v C].
      apply Z.mod_divide; [nia|]. exists (- v). lia.
    + exfalso. exact (Q g u g' u' z Rg Rg' Hz A B (P z)).
    + exfalso. exact (Q g' u' g u z Rg' Rg Hz A B (eq_sym (P z))).
Qed.
Print Assumptions pooling_shift_theorem.
