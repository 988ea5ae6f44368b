(* Layers: what convmatrix computes, for all weights, channels, groups and any number of axes, from the rule of each axis. Their
   boundaries are plain: they read a sample or none. For others see Signed.v. *)
From Coq Require Import ZArith List Lia Bool Ring ZifyBool.
From Convmatrix Require Import Sums Rule.
Import ListNotations.
Open Scope Z_scope.

(* A convolution layer. Each of its axes follows the one-axis rule; the channels are divided into groups, and an output
   channel reads the input channels of its group. *)
Record layer := Layer { axes : list axis; groups : Z; in_channels : Z; out_channels : Z }.

Definition output_shape (l : layer) : list Z := map n_outputs (axes l).
Definition input_shape (l : layer) : list Z := map n_samples (axes l).
Definition kernel_shape (l : layer) : list Z := map n_taps (axes l).
Definition group_inputs (l : layer) : Z := in_channels l / groups l.
Definition group_outputs (l : layer) : Z := out_channels l / groups l.
(* The input channel that is number c in the group of output channel o. *)
Definition input_channel (l : layer) (o c : Z) : Z := o / group_outputs l * group_inputs l + c.

(* One integer per axis, by the rule of each axis: a layer with several axes is the product of its axes. *)
Fixpoint on_axes (rule : axis -> Z -> Z -> Z) (axes : list axis) (i t : list Z) : list Z :=
  match axes, i, t with
  | a :: axes, i0 :: i, t0 :: t => rule a i0 t0 :: on_axes rule axes i t
  | _, _, _ => []
  end.
Definition positions := on_axes position.   (* what tap t of output i reads; may be outside the input *)
Definition samples := on_axes sample.       (* the sample there; -1 on an axis where nothing is read *)
Definition weight_index := on_axes weight.  (* the weight that output i uses at tap t *)
(* Whether something is read: on no axis nothing. *)
Definition present (j : list Z) : bool := forallb (Z.leb 0) j.

(* Weights: by output channel, number of the input channel in its group, and index on each axis.
   Inputs and outputs: by channel and place. *)
Definition weights (K : Type) := Z -> Z -> list Z -> K.
Definition array (K : Type) := Z -> list Z -> K.

Definition read {K : commutative_ring} (x : list Z -> K) (j : list Z) : K := if present j then x j else 0%K.

(* The output of a layer with bias b, in channel o at place i: the sum over the channels of the group and the taps. *)
Definition apply {K : commutative_ring} (l : layer) (w : weights K) (b : Z -> K) (x : array K) : array K := fun o i =>
  (b o + sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
     w o c (weight_index (axes l) i t) * read (x (input_channel l o c)) (samples (axes l) i t))))%K.
Definition no_bias {K : commutative_ring} : Z -> K := fun _ => 0%K.

(* The matrix of a layer: its entry in the row of output (o, i) and the column of input (h, j). *)
Definition entry {K : commutative_ring} (l : layer) (w : weights K) (o : Z) (i : list Z) (h : Z) (j : list Z) : K :=
  sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
    if Z.eq_dec (input_channel l o c) h then if same_place (samples (axes l) i t) j
    then w o c (weight_index (axes l) i t) else 0%K else 0%K)).

(* A layer that exists: groups divide both numbers of channels, and every axis has a sample, and taps a positive distance. *)
Definition proper_axis (a : axis) : Prop := 1 <= n_samples a /\ 1 <= stride a /\ 1 <= dilation a /\ 1 <= tile a.
Definition proper (l : layer) : Prop :=
  1 <= groups l /\ Forall proper_axis (axes l)
  /\ (exists u, 1 <= u /\ in_channels l = groups l * u) /\ (exists v, 1 <= v /\ out_channels l = groups l * v).

(* --- maps of places --- *)

(* One function per axis. *)
Fixpoint each (maps : list (Z -> Z)) (place : list Z) : list Z :=
  match maps, place with f :: maps, i :: place => f i :: each maps place | _, _ => [] end.
Fixpoint pairwise {A B C} (f : A -> B -> C) (l : list A) (l' : list B) : list C :=
  match l, l' with a :: l, b :: l' => f a b :: pairwise f l l' | _, _ => [] end.
(* The cyclic shift of an array of the given sizes by c, one amount per axis. *)
Definition rolled (n c i : Z) : Z := (i + c) mod n.
Definition shift (sizes c : list Z) : list Z -> list Z := each (pairwise rolled sizes c).
(* An array read at other places. *)
Definition at_places {K} (q : list Z -> list Z) (x : array K) : array K := fun h i => x h (q i).

Lemma rolled_same n i b c : 1 <= n -> rolled n b i = rolled n c i <-> (c - b) mod n = 0.
Proof.
  unfold rolled. intro H. split; intro E.
  - replace (c - b) with ((i + c) - (i + b)) by ring. rewrite Zminus_mod, E, Z.sub_diag. apply Z.mod_0_l. lia.
  - apply Z.mod_divide in E; [|lia]. destruct E as [q E]. replace (i + c) with (i + b + q * n) by lia.
    rewrite Z.mod_add; lia.
Qed.
Lemma each_length maps place : length place = length maps -> length (each maps place) = length place.
Proof. revert place. induction maps; intros [|? ?]; simpl; auto; discriminate. Qed.
Lemma pairwise_length {A B C} (f : A -> B -> C) l l' : length l' = length l -> length (pairwise f l l') = length l.
Proof. revert l'. induction l; intros [|? ?]; simpl; auto; discriminate. Qed.
Lemma shift_length sizes c place : length c = length sizes -> length place = length sizes ->
  length (shift sizes c place) = length sizes.
Proof. intros Hc H. unfold shift. rewrite each_length; [assumption|]. rewrite pairwise_length; auto. Qed.
Lemma shift_within sizes c place : Forall (fun n => 1 <= n) sizes -> length c = length sizes -> length place = length sizes ->
  within sizes (shift sizes c place).
Proof.
  unfold shift. intro H. revert c place. induction H as [|n sizes Hn H IH]; intros [|c cs] [|i place]; simpl; try discriminate.
  - constructor.
  - intros. constructor; [apply Z.mod_pos_bound; lia | apply IH; lia].
Qed.

Section Axes.
(* the channels of a group are within the channels *)
Lemma in_input_channels l o c : proper l -> 0 <= o < out_channels l -> 0 <= c < group_inputs l ->
  0 <= input_channel l o c < in_channels l.
Proof.
  intros [G [_ [[u [U Eu]] [v [V Ev]]]]] Ho Hc. unfold input_channel, group_inputs, group_outputs in *.
  assert (E : out_channels l / groups l = v) by (rewrite Ev, Z.mul_comm; apply Z.div_mul; lia).
  assert (F : in_channels l / groups l = u) by (rewrite Eu, Z.mul_comm; apply Z.div_mul; lia).
  rewrite E, F in *. assert (0 <= o / v) by (apply Z.div_pos; lia).
  assert (o / v < groups l) by (apply Z.div_lt_upper_bound; lia). nia.
Qed.

Lemma group_inputs_positive l : proper l -> 1 <= group_inputs l.
Proof.
  intros [G [_ [[u [U E]] _]]]. unfold group_inputs. rewrite E, Z.mul_comm, Z.div_mul; lia.
Qed.

Lemma on_axes_length rule axes i t : length i = length axes -> length t = length axes ->
  length (on_axes rule axes i t) = length axes.
Proof. revert i t. induction axes as [|a axes IH]; intros [|? i] [|? t]; simpl; auto; discriminate. Qed.

(* A reversed kernel reads what the kernel itself reads at the opposite tap. Rewrite with the axis and output given: the
   right side has the form of the left one, so that rewriting everywhere does not end. *)
Definition unflipped (a : axis) : axis :=
  Axis (n_outputs a) (n_samples a) (n_taps a) (stride a) (dilation a) (pad_low a) (axis_boundary a) false (tile a).
Definition true_tap (a : axis) (t : Z) : Z := if flip a then n_taps a - 1 - t else t.
Lemma sample_unflipped a i t : sample a i t = sample (unflipped a) i (true_tap a t).
Proof. destruct a as [? ? ? ? ? ? ? [] ?]; reflexivity. Qed.
Lemma position_unflipped a i t : position a i t = position (unflipped a) i (true_tap a t).
Proof. destruct a as [? ? ? ? ? ? ? [] ?]; reflexivity. Qed.
Lemma true_tap_within a t : 0 <= t < n_taps a <-> 0 <= true_tap a t < n_taps a.
Proof. unfold true_tap. destruct (flip a); lia. Qed.
Lemma true_tap_twice a t : true_tap a (true_tap a t) = t.
Proof. unfold true_tap. destruct (flip a); lia. Qed.

(* what is read is a sample, or nothing *)
Lemma read_sample_range b x n : 1 <= n -> read_sample b x n = -1 /\ b = zero \/ 0 <= read_sample b x n < n.
Proof.
  intro H. pose proof (Z.mod_pos_bound x (2 * n) ltac:(lia)). pose proof (Z.mod_pos_bound x n ltac:(lia)).
  pose proof (Z.mod_pos_bound x 1 ltac:(lia)).
  assert (n = 1 \/ 0 <= x mod (2 * n - 2) < 2 * n - 2).
  { destruct (Z.eq_dec n 1); [left|right; apply Z.mod_pos_bound]; lia. }
  destruct b; cbv [read_sample read_zero read_circular read_reflect read_symmetric read_replicate]; cbv zeta;
    repeat match goal with |- context [if ?c then _ else _] =>
      lazymatch c with context [if _ then _ else _] => fail | _ => let E := fresh in destruct c eqn:E end end;
    first [right; lia | left; split; [lia | reflexivity]].
Qed.
Lemma sample_range a i t : 1 <= n_samples a ->
  sample a i t = -1 /\ axis_boundary a = zero \/ 0 <= sample a i t < n_samples a.
Proof. apply read_sample_range. Qed.

Lemma sample_not_negative a i t : 1 <= n_samples a -> axis_boundary a <> zero -> 0 <= sample a i t.
Proof. intros H Z. destruct (sample_range a i t H) as [[_ E]|]; [contradiction|lia]. Qed.

Lemma present_within l i t : Forall (fun a => 1 <= n_samples a) (axes l) ->
  length i = length (axes l) -> length t = length (axes l) ->
  present (samples (axes l) i t) = true -> within (input_shape l) (samples (axes l) i t).
Proof.
  unfold input_shape. intro H. revert i t. induction H as [|a axes Ha H IH]; intros [|i0 i] [|t0 t]; simpl; try discriminate.
  - constructor.
  - intros Li Lt P. apply andb_prop in P. destruct P as [P P']. constructor; [|apply IH; auto; lia].
    apply Z.leb_le in P. destruct (sample_range a i0 t0 Ha) as [[E _]|]; lia.
Qed.

(* where no axis has the zero boundary, something is read everywhere *)
Lemma always_present axes i t : Forall (fun a => 1 <= n_samples a /\ axis_boundary a <> zero) axes ->
  present (samples axes i t) = true.
Proof.
  intro H. revert i t. induction H as [|a axes [Ha Z] H IH]; intros [|i0 i] [|t0 t]; simpl; auto.
  rewrite IH, andb_true_r. apply Z.leb_le. destruct (sample_range a i0 t0 Ha) as [[_ E]|]; [contradiction|lia].
Qed.
End Axes.

(* --- what layers depend on --- *)

Section Layers.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* A layer reads the input within its shape only. *)
Lemma apply_ext (l : layer) (w : weights K) b (x y : array K) o i :
  proper l -> 0 <= o < out_channels l -> within (output_shape l) i ->
  (forall h j, 0 <= h < in_channels l -> within (input_shape l) j -> x h j = y h j) ->
  apply l w b x o i = apply l w b y o i.
Proof.
  intros P Ho Hi E. unfold apply. f_equal. apply sum_ext; intros c Hc. apply sum_ext; intros t Ht. f_equal.
  unfold read. destruct (present _) eqn:R; [|reflexivity]. apply E.
  - apply in_input_channels; auto. apply in_range; auto.
  - apply in_grid, within_length in Ht. apply within_length in Hi. unfold kernel_shape, output_shape in *.
    rewrite map_length in *. apply present_within; auto.
    destruct P as [_ [P _]]. eapply Forall_impl; [|exact P]. intros a [? _]; auto.
Qed.

(* A layer is its matrix times the input, and the bias. *)
Theorem apply_entry (l : layer) (w : weights K) b (x : array K) o i :
  proper l -> 0 <= o < out_channels l -> within (output_shape l) i ->
  apply l w b x o i = (b o + sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j =>
    entry l w o i h j * x h j)))%K.
Proof.
  intros P Ho Hi. unfold apply, entry. f_equal.
  transitivity (sum (range (group_inputs l)) (fun c => sum (grid (kernel_shape l)) (fun t =>
    sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j =>
    (if Z.eq_dec (input_channel l o c) h then if same_place (samples (axes l) i t) j
    then w o c (weight_index (axes l) i t) else 0 else 0) * x h j)))))%K.
  - apply sum_ext; intros c Hc. apply sum_ext; intros t Ht. apply in_range in Hc. apply in_grid, within_length in Ht.
    pose proof (in_input_channels l o c P Ho Hc) as Hh.
    rewrite (sum_single _ (input_channel l o c)); [|apply range_distinct|apply in_range; auto|].
    2: { intros h _ N. apply sum_zero; intros j _. destruct (Z.eq_dec _ _); [congruence|ring]. }
    destruct (Z.eq_dec _ _) as [_|N]; [|congruence]. unfold read. apply within_length in Hi.
    unfold kernel_shape, output_shape in *. rewrite map_length in *.
    assert (S : Forall (fun a => 1 <= n_samples a) (axes l)).
    { destruct P as [_ [P _]]. eapply Forall_impl; [|exact P]. intros a [? _]; auto. }
    destruct (present _) eqn:R.
    + rewrite (sum_single _ (samples (axes l) i t)); [|apply grid_distinct| |].
      * destruct (same_place _ _); congruence.
      * apply in_grid, present_within; auto.
      * intros j _ N. destruct (same_place _ _); [congruence|ring].
    + rewrite sum_zero; [ring|]. intros j Hj. destruct (same_place _ _) as [<-|]; [|ring]. exfalso.
      apply in_grid in Hj. revert R. generalize (samples (axes l) i t) Hj. unfold input_shape.
      generalize (map n_samples (axes l)). induction 1 as [|n j0 s j' H ? IH]; simpl; [discriminate|].
      destruct (Z.leb_spec 0 j0); [exact IH|lia].
  - transitivity (sum (range (group_inputs l)) (fun c => sum (range (in_channels l)) (fun h => sum (grid (input_shape l)) (fun j =>
      sum (grid (kernel_shape l)) (fun t =>
      (if Z.eq_dec (input_channel l o c) h then if same_place (samples (axes l) i t) j
      then w o c (weight_index (axes l) i t) else 0 else 0) * x h j)))))%K.
    + apply sum_ext; intros c _. rewrite sum_swap. apply sum_ext; intros h _. apply sum_swap.
    + rewrite sum_swap. apply sum_ext; intros h _. rewrite sum_swap. apply sum_ext; intros j _.
      rewrite <- sum_scale_right. apply sum_ext; intros c _. rewrite <- sum_scale_right. reflexivity.
Qed.

End Layers.
