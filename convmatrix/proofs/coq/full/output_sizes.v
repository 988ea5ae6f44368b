(* Theorem output-sizes: the output sizes of convolution and transposed convolution invert each other. Sizes are computed axis
   by axis; this is the statement about one. *)
Require Import ZArith Lia.
From Convmatrix Require Import Rule Lemmas_output_sizes.
Open Scope Z_scope.

(* What a kernel of k taps spans. *)
Definition span (k d : Z) : Z := d * (k - 1) + 1.
(* The layers that the code accepts: a window fits, a transposed layer has outputs, and padded sizes are below 2^62. *)
Definition accepted (n k d low high : Z) : Prop := span k d <= n + low + high < 2 ^ 62.
Definition accepted_transposed (m k s d low high extra : Z) : Prop :=
  1 <= transposed_outputs m (span k d) s low high extra /\ (m - 1) * s + span k d + extra < 2 ^ 62.

(* A convolution of n samples has m = forward_outputs n ... outputs, at least one: window i ends inside the padded input
   exactly if i < m. The transposed layer with an output padding from 0 to s - 1 maps m to a size that the convolution maps
   to m. And each size n is that of exactly one output padding, (n + low + high - span) mod s. *)
Theorem output_sizes_theorem (k s d low high : Z) : 1 <= k -> 1 <= s -> 1 <= d ->
  (forall n b f, 1 <= n -> accepted n k d low high ->
    let m := forward_outputs n (span k d) s low high in
    1 <= m /\ forall i, i < m <-> position (Axis m n k s d low b f 1) i (if f then 0 else k - 1) < n + high)
  /\ (forall m extra, 1 <= m -> 0 <= extra < s -> accepted_transposed m k s d low high extra ->
      forward_outputs (transposed_outputs m (span k d) s low high extra) (span k d) s low high = m)
  /\ (forall n, 1 <= n -> accepted n k d low high ->
      let m := forward_outputs n (span k d) s low high in
      forall extra, (0 <= extra < s /\ transposed_outputs m (span k d) s low high extra = n)
                    <-> extra = (n + low + high - span k d) mod s).
Proof.
  unfold accepted, accepted_transposed, span. intros Hk Hs Hd. split; [|split].
  - intros n b f Hn A. destruct (output_sizes_windows n k s d low high) as (M & L & U); try lia.
    simpl. split; [exact M|]. intro i. revert L U. unfold position, tap_position. simpl.
    replace (if f then k - 1 - (if f then 0 else k - 1) else (if f then 0 else k - 1)) with (k - 1) by (destruct f; lia).
    nia.
  - intros m extra Hm He A. apply output_sizes_there_and_back; try lia. unfold transposed_outputs in A. lia.
  - intros n Hn A. simpl. destruct (output_sizes_back_and_there n k s d low high) as (W & E); try lia.
    intro extra. unfold transposed_outputs in *. split; [lia | intros ->; lia].
Qed.
Print Assumptions output_sizes_theorem.
