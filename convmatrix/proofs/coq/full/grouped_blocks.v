(* Theorem grouped-blocks: a layer with groups of channels is block diagonal, one layer per group. For all weights, tiles,
   boundaries and any number of axes. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums Rule Layers Algebra Lemmas_grouped_blocks.
Import ListNotations.
Open Scope Z_scope.

(* The layer of one group: its channels alone. *)
Definition group_layer (l : layer) : layer := Layer (axes l) 1 (group_inputs l) (group_outputs l).
(* Its weights: those of the output channels g D, g D + 1, ... of the layer, D to a group. *)
Definition group_weights {K} (l : layer) (w : weights K) (g : Z) : weights K := fun o => w (g * group_outputs l + o).
Definition group_bias {K} (l : layer) (b : Z -> K) (g : Z) : Z -> K := fun o => b (g * group_outputs l + o).
(* The channels of an array that a group reads. *)
Definition group_array {K} (l : layer) (x : array K) (g : Z) : array K := fun c => x (g * group_inputs l + c).

Section Groups.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

Lemma group_channel l g o : 0 <= o < group_outputs l -> (g * group_outputs l + o) / group_outputs l = g.
Proof.
  intro Ho. pose proof (grouped_blocks_group (group_outputs l) g o Ho) as E.
  pose proof (Z_div_mod_eq_full (g * group_outputs l + o) (group_outputs l)). nia.
Qed.

(* Each channel is in one group. The matrix is zero between channels of different groups; between those of group g it is the
   matrix of the layer of the group. So group g of the output is that layer's, of group g of the input. *)
Theorem grouped_blocks_theorem (l : layer) (w : weights K) (b : Z -> K) : proper l ->
  (forall o, 0 <= o < out_channels l -> exists! go, 0 <= fst go < groups l /\ 0 <= snd go < group_outputs l
      /\ o = fst go * group_outputs l + snd go)
  /\ (forall h, 0 <= h < in_channels l -> exists! gc, 0 <= fst gc < groups l /\ 0 <= snd gc < group_inputs l
      /\ h = fst gc * group_inputs l + snd gc)
  /\ (forall g g' o i c j, g <> g' -> 0 <= o < group_outputs l -> 0 <= c < group_inputs l ->
      @entry K l w (g * group_outputs l + o) i (g' * group_inputs l + c) j = 0%K)
  /\ (forall g o i c j, 0 <= o < group_outputs l -> 0 <= c < group_inputs l ->
      entry l w (g * group_outputs l + o) i (g * group_inputs l + c) j = entry (group_layer l) (group_weights l w g) o i c j)
  /\ (forall (x : array K) g o i, 0 <= o < group_outputs l ->
      apply l w b x (g * group_outputs l + o) i
      = apply (group_layer l) (group_weights l w g) (group_bias l b g) (group_array l x g) o i).
Proof.
  intro P. destruct (proper_groups l P) as (U & V & E & F).
  assert (Unique : forall width count o, 1 <= width -> 0 <= o < count * width ->
    exists! go, 0 <= fst go < count /\ 0 <= snd go < width /\ o = fst go * width + snd go).
  { intros width count o W O. pose proof (Z.mod_pos_bound o width ltac:(lia)) as M. pose proof (Z_div_mod_eq_full o width) as D.
    exists (o / width, o mod width). simpl. split.
    - split; [split; [apply Z.div_pos; lia | apply Z.div_lt_upper_bound; [lia | rewrite Z.mul_comm; apply O]] | split; [exact M | rewrite Z.mul_comm; exact D]].
    - intros [g r] (G & R & Q). simpl in *.
      assert (Q' : o / width * width + o mod width = g * width + r) by (rewrite (Z.mul_comm (o / width)), <- D; exact Q).
      destruct (grouped_blocks_one_block width (o / width) g (o mod width) r M R Q') as [-> ->]. reflexivity. }
  assert (Input : forall g o c, 0 <= o < group_outputs l ->
    input_channel l (g * group_outputs l + o) c = g * group_inputs l + c).
  { intros g o c Ho. unfold input_channel. rewrite group_channel by assumption. reflexivity. }
  assert (Single : forall o c, 0 <= o < group_outputs l -> input_channel (group_layer l) o c = c).
  { intros o c Ho. unfold input_channel, group_outputs, group_inputs. simpl. rewrite !Z.div_1_r.
    fold (group_outputs l). fold (group_inputs l). rewrite (Z.div_small o) by assumption. lia. }
  assert (Inputs : group_inputs (group_layer l) = group_inputs l) by (unfold group_inputs at 1; simpl; apply Z.div_1_r).
  split; [|split; [|split; [|split]]].
  - intros o Ho. apply Unique; lia.
  - intros h Hh. apply Unique; lia.
  - intros g g' o i c j N Ho Hc. unfold entry. apply sum_zero. intros c' Hc'. apply in_range in Hc'. apply sum_zero. intros t _.
    rewrite Input by assumption. destruct (Z.eq_dec _ _) as [Q|]; [|reflexivity]. exfalso. apply N.
    apply (grouped_blocks_one_block (group_inputs l) g g' c' c Hc' Hc Q).
  - intros g o i c j Ho Hc. unfold entry. rewrite Inputs. apply sum_ext. intros c' Hc'. apply sum_ext. intros t _.
    rewrite Input, Single by assumption.
    destruct (Z.eq_dec (g * group_inputs l + c') (g * group_inputs l + c)); destruct (Z.eq_dec c' c); try lia; reflexivity.
  - intros x g o i Ho. unfold apply. rewrite Inputs. unfold group_bias at 1. f_equal. apply sum_ext. intros c _.
    apply sum_ext. intros t _. rewrite Input, Single by assumption. reflexivity.
Qed.
End Groups.
Print Assumptions grouped_blocks_theorem.
