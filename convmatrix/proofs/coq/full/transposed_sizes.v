(* Theorem transposed-sizes: which positions the outputs of a transposed layer are, and what the words same, same_lower, full and
   valid stand for. Sizes are computed axis by axis; this is the statement about one. *)
Require Import ZArith Lia.
From Convmatrix Require Import Rule Lemmas_transposed_sizes.
Open Scope Z_scope.

(* What a kernel of k taps spans. *)
Definition span (k d : Z) : Z := d * (k - 1) + 1.
(* The position to which input i of a transposed layer writes at tap t: the one that output i of the convolution reads. *)
Definition written (m k s d low : Z) (i t : Z) : Z := position (Axis m 1 k s d low zero false 1) i t.

Theorem transposed_sizes_theorem (m k s d : Z) : 1 <= m -> 1 <= k -> 1 <= s -> 1 <= d ->
  (* inputs write to the positions from - low to (m - 1) s + span - 1 - low; outputs are those from 0 on, of which the last
     extra - high, if that is positive, are written by no input *)
  (forall low high extra i t, 0 <= i < m -> 0 <= t < k ->
    - low <= written m k s d low i t <= (m - 1) * s + span k d - 1 - low
    /\ written m k s d low i t < transposed_outputs m (span k d) s low high extra - (extra - high))
  /\ (forall low high extra, written m k s d low 0 0 = - low
      /\ written m k s d low (m - 1) (k - 1) + 1 = transposed_outputs m (span k d) s low high extra - (extra - high))
  (* same and same_lower give m s outputs: they crop span + extra - s samples, the odd one at the high end, or same_lower at the
     low end; if that is negative, the output padding is s - span *)
  /\ (forall extra, 0 <= extra ->
      let low := transposed_same_low m (span k d) s extra in
      let high := transposed_same_high m (span k d) s extra in
      let more := transposed_same_extra m (span k d) s extra in
      transposed_outputs m (span k d) s low high more = m * s
      /\ 0 <= low <= high /\ high <= low + 1
      /\ (s <= span k d + extra -> low + high = span k d + extra - s /\ more = extra)
      /\ (span k d + extra <= s -> low = 0 /\ high = 0 /\ more = s - span k d)
      /\ transposed_same_lower_low m (span k d) s extra = high
      /\ transposed_same_lower_high m (span k d) s extra = low
      /\ transposed_same_lower_extra m (span k d) s extra = more
      /\ transposed_outputs m (span k d) s (transposed_same_lower_low m (span k d) s extra)
           (transposed_same_lower_high m (span k d) s extra) (transposed_same_lower_extra m (span k d) s extra) = m * s)
  (* full crops span - 1 samples at either end, valid none *)
  /\ (forall extra, transposed_full_low m (span k d) s extra = span k d - 1 /\ transposed_full_high m (span k d) s extra = span k d - 1
      /\ transposed_full_extra m (span k d) s extra = extra /\ transposed_valid_low m (span k d) s extra = 0
      /\ transposed_valid_high m (span k d) s extra = 0 /\ transposed_valid_extra m (span k d) s extra = extra)
  (* a layer is refused exactly if it has no output *)
  /\ (forall low high extra, (m - 1) * s + span k d - low - high + extra < 1
      <-> transposed_outputs m (span k d) s low high extra < 1).
Proof.
  intros M Kk S D. assert (L : 1 <= span k d) by (unfold span; nia). split; [|split; [|split; [|split]]].
  - intros low high extra i t Hi Ht. destruct (transposed_sizes_ends m k s d low high extra) as (A & B).
    destruct (transposed_sizes_range m 1 k s d low i t S D Hi Ht) as (R1 & R2). fold (span k d) in *.
    unfold written in *. unfold position in *. cbn [flip n_taps stride dilation pad_low] in *. unfold transposed_outputs in *. lia.
  - intros low high extra. destruct (transposed_sizes_ends m k s d low high extra) as (A & B). fold (span k d) in *.
    unfold written in *. unfold position in *. cbn [flip n_taps stride dilation pad_low] in *. lia.
  - intros extra X. cbv zeta. destruct (transposed_sizes_same_outputs m (span k d) s extra M L S X) as (A & A1 & A2 & A3).
    destruct (transposed_sizes_same_lower_outputs m (span k d) s extra M L S X) as (B & _).
    destruct (transposed_sizes_total m (span k d) s extra M L S X) as (T1 & T2).
    destruct (transposed_sizes_odd_sample m (span k d) s extra M L S X) as (O1 & O2 & O3 & O4 & O5).
    repeat split; try assumption; try (apply T1; assumption); try (apply T2; assumption).
  - intros extra. destruct (transposed_sizes_full_and_valid m (span k d) s extra) as (A & B & C & E & F & G & _).
    repeat split; assumption.
  - intros low high extra. destruct (transposed_sizes_refused m (span k d) s low high extra) as [R1 R2]. lia.
Qed.
Print Assumptions transposed_sizes_theorem.
