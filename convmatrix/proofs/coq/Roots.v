(* Roots of unity in a commutative ring, and their powers. *)
Require Import ZArith List Lia Ring.
From Convmatrix Require Import Sums.
Import ListNotations.
Open Scope Z_scope.

Section Roots.
Context {K : commutative_ring}.
Add Ring K_ring : (ring_laws K).

(* x^e *)
Fixpoint power (x : K) (e : nat) : K := match e with O => 1%K | S e => (x * power x e)%K end.

(* x^n = 1; for instance exp(2 pi i f / n), with any integer f, in the complex numbers *)
Definition root_of_unity (n : Z) (x : K) : Prop := power x (Z.to_nat n) = 1%K.

(* x^e for any integer e, negative ones included, where x^n = 1 *)
Definition root_power (n : Z) (x : K) (e : Z) : K := power x (Z.to_nat (e mod n)).

Lemma power_add x a b : power x (a + b) = (power x a * power x b)%K.
Proof. induction a as [|a IH]; simpl; [ring|]. rewrite IH. ring. Qed.

Lemma power_one e : power 1%K e = 1%K.
Proof. induction e as [|e IH]; simpl; [reflexivity|]. rewrite IH. ring. Qed.

Lemma power_mul x a b : power x (a * b) = power (power x a) b.
Proof.
  induction b as [|b IH]; [rewrite Nat.mul_0_r; reflexivity|]. rewrite Nat.mul_succ_r, power_add, IH. simpl. ring.
Qed.

Lemma root_power_nonnegative n x e :
  1 <= n -> root_of_unity n x -> 0 <= e -> root_power n x e = power x (Z.to_nat e).
Proof.
  intros Hn Hx He. unfold root_power. rewrite (Z.div_mod e n) at 2 by lia.
  pose proof (Z.mod_pos_bound e n). pose proof (Z.div_pos e n).
  rewrite Z2Nat.inj_add, Z2Nat.inj_mul, power_add, power_mul, Hx, power_one by nia. ring.
Qed.

Lemma root_power_same n x a b : a mod n = b mod n -> root_power n x a = root_power n x b.
Proof. unfold root_power. intros ->. reflexivity. Qed.

Lemma root_power_add n x a b :
  1 <= n -> root_of_unity n x -> root_power n x (a + b) = (root_power n x a * root_power n x b)%K.
Proof.
  intros Hn Hx. pose proof (Z.mod_pos_bound a n). pose proof (Z.mod_pos_bound b n).
  unfold root_power at 2 3. rewrite <- power_add, <- Z2Nat.inj_add by lia.
  rewrite <- (root_power_nonnegative n x) by (auto; lia). apply root_power_same. apply Z.add_mod. lia.
Qed.

Lemma root_power_0 n x : 1 <= n -> root_of_unity n x -> root_power n x 0 = 1%K.
Proof. intros Hn Hx. rewrite root_power_nonnegative by (auto; lia). reflexivity. Qed.

Lemma root_power_opposite n x e :
  1 <= n -> root_of_unity n x -> (root_power n x e * root_power n x (- e))%K = 1%K.
Proof. intros Hn Hx. rewrite <- root_power_add, Z.add_opp_diag_r by assumption. apply root_power_0; assumption. Qed.

Lemma root_power_period n x a b q : 1 <= n -> a = b + q * n -> root_power n x a = root_power n x b.
Proof. intros Hn ->. apply root_power_same. apply Z.mod_add. lia. Qed.

Lemma sum_reversed (k : Z) (f : Z -> K) : sum (range k) f = sum (range k) (fun t => f (k - 1 - t)).
Proof.
  apply (sum_bijection (range k) (range k) (fun t => k - 1 - t) (fun t => k - 1 - t)); try apply range_distinct;
    intros t; rewrite !in_range; lia.
Qed.

(* Waves x^u + s x^(-u), for s = 1 twice cosines and for s = -1 twice sines, at exponents on either side of u: with weights that
   are the same from either end they sum to a multiple of the wave at u. *)
Lemma wave_sum n x s k (w : Z -> K) (e : Z -> Z) u : 1 <= n -> root_of_unity n x ->
  (forall t, 0 <= t < k -> w (k - 1 - t) = w t) -> (forall t, e (k - 1 - t) = - e t) ->
  sum (range k) (fun t => w t * (root_power n x (e t + u) + s * root_power n x (- (e t + u))))%K
  = (sum (range k) (fun t => w t * root_power n x (e t)) * (root_power n x u + s * root_power n x (- u)))%K.
Proof.
  intros Hn Hx W E.
  transitivity (sum (range k) (fun t => w t * root_power n x (e t) * root_power n x u
    + w t * root_power n x (- e t) * (s * root_power n x (- u)))%K).
  - apply sum_ext. intros t _. replace (- (e t + u)) with (- e t + - u) by lia.
    rewrite !root_power_add by assumption. ring.
  - rewrite sum_add, !sum_scale_right.
    replace (sum (range k) (fun t => w t * root_power n x (- e t)))%K
      with (sum (range k) (fun t => w t * root_power n x (e t)))%K; [ring|].
    rewrite sum_reversed. apply sum_ext. intros t Ht. apply in_range in Ht. rewrite W, E by assumption. reflexivity.
Qed.
End Roots.
