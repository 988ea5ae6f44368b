(* Theorem odd-padding: the paddings and the numbers of outputs that the words same, same_lower, full and valid stand for. Sizes
   are computed axis by axis; this is the statement about one. *)
Require Import ZArith Lia.
From Convmatrix Require Import Rule Lemmas_odd_padding.
Open Scope Z_scope.

(* What a kernel of k taps spans. *)
Definition span (k d : Z) : Z := d * (k - 1) + 1.
(* ceil (n / s) *)
Definition ceiling (n s : Z) : Z := - (- n / s).
(* The window of output i, with low padding p: the positions from its first tap to its last one. *)
Definition first_position (n k s d p i : Z) : Z := position (Axis 1 n k s d p zero false 1) i 0.
Definition last_position (n k s d p i : Z) : Z := position (Axis 1 n k s d p zero false 1) i (k - 1).

Lemma ceiling_unique n s m : 1 <= s -> s * (m - 1) < n -> n <= s * m -> m = ceiling n s.
Proof.
  intros S L U. unfold ceiling. enough (- m = - n / s) by lia.
  apply (Z.div_unique (- n) s (- m) (s * m - n)); [left; nia | lia].
Qed.

Theorem odd_padding_theorem (n k s d : Z) : 1 <= n -> 1 <= k -> 1 <= s -> 1 <= d ->
  (* same and same_lower give ceil (n / s) outputs, with a total padding of max ((m - 1) s + span - n, 0); no smaller padding
     gives as many *)
  (let m := forward_outputs n (span k d) s (same_low n (span k d) s) (same_high n (span k d) s) in
    m = ceiling n s /\ same_low n (span k d) s + same_high n (span k d) s = Z.max ((m - 1) * s + span k d - n) 0
    /\ forall low high, 0 <= low + high -> m <= forward_outputs n (span k d) s low high ->
       same_low n (span k d) s + same_high n (span k d) s <= low + high)
  /\ forward_outputs n (span k d) s (same_lower_low n (span k d) s) (same_lower_high n (span k d) s) = ceiling n s
  (* same puts the odd sample at the high end, same_lower at the low end *)
  /\ 0 <= same_low n (span k d) s <= same_high n (span k d) s /\ same_high n (span k d) s <= same_low n (span k d) s + 1
  /\ same_lower_low n (span k d) s = same_high n (span k d) s /\ same_lower_high n (span k d) s = same_low n (span k d) s
  (* full: one output for each window that meets the input *)
  /\ (let p := full_low n (span k d) s in full_low n (span k d) s = span k d - 1 /\ full_high n (span k d) s = span k d - 1 /\
      forall i, 0 <= i < forward_outputs n (span k d) s p (full_high n (span k d) s)
      <-> 0 <= i /\ 0 <= last_position n k s d p i /\ first_position n k s d p i < n)
  (* valid: nothing is padded, and one output for each window inside *)
  /\ (span k d <= n -> valid_low n (span k d) s = 0 /\ valid_high n (span k d) s = 0 /\
      forall i, 0 <= i < forward_outputs n (span k d) s 0 0
      <-> 0 <= i /\ 0 <= first_position n k s d 0 i /\ last_position n k s d 0 i < n)
  (* a layer is refused exactly if it has no output *)
  /\ (forall low high, n + low + high < span k d <-> forward_outputs n (span k d) s low high < 1).
Proof.
  intros N Kk S D. assert (L : 1 <= span k d) by (unfold span; nia).
  destruct (odd_padding_same_outputs n (span k d) s N L S) as (A1 & A2 & A3 & A4).
  destruct (odd_padding_same_lower_outputs n (span k d) s N L S) as (B1 & B2 & _ & _).
  destruct (odd_padding_odd_sample n (span k d) s N L S) as (O1 & O2 & O3 & O4).
  pose proof (odd_padding_least_padding n k s d N Kk D S) as M.
  destruct (odd_padding_full n k s d N Kk D S) as (F1 & F2 & F3 & F4).
  pose proof (odd_padding_valid n k s d D S Kk) as V.
  fold (span k d) in *.
  set (lo := same_low n (span k d) s) in *. set (hi := same_high n (span k d) s) in *.
  split; [|split; [|split; [|split; [|split; [|split; [|split; [|split]]]]]]].
  - cbv zeta. split; [apply ceiling_unique; assumption|].
    assert (T : lo + hi = Z.max ((forward_outputs n (span k d) s lo hi - 1) * s + span k d - n) 0).
    { destruct M as [M|M].
      - unfold forward_outputs in *. pose proof (Z_div_mod_eq_full (n + lo + hi - span k d) s).
        pose proof (Z.mod_pos_bound (n + lo + hi - span k d) s ltac:(lia)). nia.
      - unfold position, tap_position in M. cbn [flip n_taps stride dilation pad_low] in M. unfold span in *. nia. }
    split; [exact T|]. intros low high P Q. rewrite T.
    set (m := forward_outputs n (span k d) s lo hi) in *. clearbody m. unfold forward_outputs in Q.
    pose proof (Z_div_mod_eq_full (n + low + high - span k d) s).
    pose proof (Z.mod_pos_bound (n + low + high - span k d) s ltac:(lia)). nia.
  - apply ceiling_unique; assumption.
  - lia.
  - lia.
  - lia.
  - lia.
  - cbv zeta. unfold full_low, full_high in *. split; [reflexivity|]. split; [reflexivity|]. intro i.
    unfold first_position, last_position, position, tap_position in *. cbn [flip n_taps stride dilation pad_low] in *.
    set (m := forward_outputs n (span k d) s (span k d - 1) (span k d - 1)) in *. clearbody m. split.
    + intro I. split; [lia|]. split; [unfold span in *; nia | nia].
    + intros (I & _ & W). split; [exact I|]. nia.
  - intro W. destruct (V W) as (_ & _ & V2 & V3). unfold valid_low, valid_high in *. split; [reflexivity|]. split; [reflexivity|]. intro i.
    unfold first_position, last_position, position, tap_position in *. cbn [flip n_taps stride dilation pad_low] in *.
    set (m := forward_outputs n (span k d) s 0 0) in *. clearbody m. split.
    + intro I. split; [lia|]. split; nia.
    + intros (I & _ & W'). split; [exact I|]. nia.
  - intros low high. destruct (odd_padding_refused n (span k d) s low high S) as [R1 R2]. lia.
Qed.
Print Assumptions odd_padding_theorem.
