(* Integers, as the generated proofs use them: quotients, trichotomy, and the negations of decidable propositions. *)
From Coq Require Import ZArith Lia Bool Decidable.
Local Open Scope Z_scope.

(* A remainder is a value less a multiple of the modulus; it lies from 0 to m - 1 if the modulus m is positive. *)
Lemma quotient (u m : Z) :
  exists q, u / m = q /\ u mod m = u - m * q /\ (0 <= m - 1 -> 0 <= u - m * q /\ 0 <= m - 1 - (u - m * q)).
Proof.
  exists (u / m). pose proof (Z_div_mod_eq_full u m). repeat split; [lia | |].
  - pose proof (Z.mod_pos_bound u m). lia.
  - pose proof (Z.mod_pos_bound u m). lia.
Qed.

(* A modulus is positive if it is not below 1. *)
Lemma positive (m : Z) : (0 <= - m -> False) -> 0 <= m - 1.
Proof. lia. Qed.

Lemma trichotomy (x : Z) : 0 <= - x - 1 \/ x = 0 \/ 0 <= x - 1.
Proof. lia. Qed.

Lemma apart (a b : Z) : a <> b -> b < a \/ a < b.
Proof. lia. Qed.

Lemma outside (i n : Z) : ~ (0 <= i < n) -> i < 0 \/ n <= i.
Proof. lia. Qed.

(* Negations and implications, of propositions that are decidable. *)
Ltac decide_it :=
  lazymatch goal with
  | |- decidable (_ /\ _) => apply dec_and; decide_it
  | |- decidable (_ \/ _) => apply dec_or; decide_it
  | |- decidable (_ <-> _) => apply dec_iff; decide_it
  | |- decidable (~ _) => apply dec_not; decide_it
  | |- decidable (_ -> _) => apply dec_imp; decide_it
  | |- decidable True => left; exact I
  | |- decidable False => right; exact (fun f => f)
  | |- decidable (_ = _) => apply Z.eq_decidable
  | |- decidable (_ < _) => apply Z.lt_decidable
  | |- decidable (_ <= _) => apply Z.le_decidable
  end.

Lemma by_contradiction (P : Prop) : decidable P -> (~ P -> False) -> P.
Proof. intros [p|p] H; [exact p | destruct (H p)]. Qed.

Lemma not_both (A B : Prop) : decidable A -> ~ (A /\ B) -> ~ A \/ ~ B.
Proof. intros [a|a] H; [right; intro b; apply H; split; assumption | left; exact a]. Qed.

Lemma neither (A B : Prop) : ~ (A \/ B) -> ~ A /\ ~ B.
Proof. intro H; split; intro c; apply H; [left | right]; exact c. Qed.

Lemma not_implied (A B : Prop) : decidable A -> ~ (A -> B) -> A /\ ~ B.
Proof. intros [a|a] H; [split; [exact a | intro b; exact (H (fun _ => b))] | destruct H; intro c; destruct (a c)]. Qed.

Lemma implied (A B : Prop) : decidable A -> (A -> B) -> ~ A \/ B.
Proof. intros [a|a] H; [right; exact (H a) | left; exact a]. Qed.

Lemma not_not (A : Prop) : decidable A -> ~ ~ A -> A.
Proof. intros [a|a] H; [exact a | destruct (H a)]. Qed.

(* The two cases, or the two parts, of a hypothesis that is a negation or an implication. *)
Tactic Notation "not_both" hyp(H) "as" ident(x) ident(y) :=
  let d := fresh in
  lazymatch type of H with
  | ~ (?A <-> ?B) => assert (d : decidable (A -> B)) by decide_it; destruct (not_both (A -> B) (B -> A) d H) as [x|y]; clear d
  | ~ (?A /\ ?B) => assert (d : decidable A) by decide_it; destruct (not_both A B d H) as [x|y]; clear d
  end.

Tactic Notation "implied" hyp(H) "as" ident(x) ident(y) :=
  let d := fresh in
  lazymatch type of H with
  | ?A -> ?B => assert (d : decidable A) by decide_it; destruct (implied A B d H) as [x|y]; clear d
  end.

Tactic Notation "not_implied" hyp(H) "as" ident(x) ident(y) :=
  let d := fresh in
  lazymatch type of H with
  | ~ (?A -> ?B) => assert (d : decidable A) by decide_it; destruct (not_implied A B d H) as [x y]; clear d
  end.

Tactic Notation "not_not" hyp(H) "as" ident(x) :=
  let d := fresh in
  lazymatch type of H with
  | ~ ~ ?A => assert (d : decidable A) by decide_it; pose proof (not_not A d H) as x; clear d
  end.
